package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/zosnet/zosnet/pkg/grid/control"
	"github.com/zosnet/zosnet/pkg/spec"
	"github.com/zosnet/zosnet/pkg/wireguard/device"
	"github.com/zosnet/zosnet/test/testenv"
)

// inNamespace is set in the process that has a network namespace of its own.
const inNamespace = "ZOSNET_TEST_CONTROLPLANE_NAMESPACE"

// endpoint is where others would reach the node under test.
var endpoint = netip.MustParseAddr("192.0.2.1")

// patience bounds every wait for something that must happen.
const patience = time.Minute

// TestMain runs the tests in a network namespace of their own, with the node's endpoint.
// It is gone with the process. Without root those that need it are skipped.
func TestMain(m *testing.M) {
	if os.Getenv(inNamespace) != "" || os.Geteuid() != 0 {
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	if exit, is := errors.AsType[*exec.ExitError](err); is {
		os.Exit(exit.ExitCode())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// host is a machine whose node is in no grid yet.
type host struct {
	node    *spec.Node
	devices *device.Devices
}

func newHost(t *testing.T) *host {
	t.Helper()
	testenv.RequireRoot(t)
	lo, err := netlink.LinkByName("lo")
	check(t, err)
	check(t, netlink.LinkSetUp(lo))
	check(t, netlink.AddrReplace(lo, must(netlink.ParseAddr(endpoint.String()+"/32"))))

	runDir := must(os.MkdirTemp("", "zcp")) // short: there are sockets in it
	t.Cleanup(func() { check(t, os.RemoveAll(runDir)) })
	// Interfaces of wireguard-go share a directory with those of the whole machine.
	node := &spec.Node{Name: "n1-" + strconv.FormatInt(int64(os.Getpid()), 36), StateDir: t.TempDir(), RunDir: runDir, Endpoint: endpoint}
	devices, err := device.Open(device.Config{RunDir: runDir, Command: []string{testenv.Zosnet(t), "wg"}, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	check(t, err)
	t.Cleanup(devices.Close)
	t.Cleanup(func() { check(t, control.Remove(devices, node.Name)) })
	return &host{node, devices}
}

// plane gives the host's part in a grid, as its files have it.
func (h *host) plane(t *testing.T) *Plane {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	p, err := New(Config{Version: "test", Node: func() *spec.Node { return h.node }, Devices: h.devices, Log: log})
	check(t, err)
	return p
}

// run runs a part until stop, or the end of the test.
func run(t *testing.T, p *Plane) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		check(t, <-ended)
	})
	t.Cleanup(stop)
	return stop
}

// founder is a node that has made a grid.
func founder(t *testing.T) *Plane {
	t.Helper()
	p := newHost(t).plane(t)
	run(t, p)
	_, err := p.Found()
	check(t, err)
	up(t, p)
	return p
}

// up waits until a part is.
func up(t *testing.T, p *Plane) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	check(t, p.Wait(ctx))
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// must gives a value that a test needs and is not about.
func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
