package gridstore

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/test/testenv"
)

// inNamespace is set in the process that has a network namespace of its own.
const inNamespace = "ZOSNET_GRID_TEST"

// asMember has the registry.MemberConfig, as JSON, of a process that is a member
// until it is killed.
const asMember = "ZOSNET_GRID_MEMBER"

func serve(text string) error {
	var cfg registry.MemberConfig
	if err := json.Unmarshal([]byte(text), &cfg); err != nil {
		return err
	}
	m, err := registry.StartMember(context.Background(), cfg, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	<-m.Failed()
	return m.Err()
}

// TestMain runs the tests in a network namespace of their own, whose loopback has
// the control addresses of nine nodes. It is gone with the process.
func TestMain(m *testing.M) {
	if text := os.Getenv(asMember); text != "" {
		fmt.Fprintln(os.Stderr, serve(text))
		os.Exit(1)
	}
	if os.Getenv(inNamespace) != "" {
		if err := controlAddresses(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		goleak.VerifyTestMain(m, connectionsOfMembers()...)
		return
	}
	if os.Geteuid() != 0 {
		os.Exit(m.Run()) // requireNetwork says so
	}
	// What the tests do most is wait: for elections, leases, five seconds of etcd's.
	cmd := exec.Command("/proc/self/exe", append([]string{"-test.parallel=8"}, os.Args[1:]...)...)
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// connectionsOfMembers are those between members, by HTTP: one that stops leaves
// them to run into their timeouts. Nothing else here speaks HTTP/1.
func connectionsOfMembers() (ignored []goleak.Option) {
	for _, f := range []string{"(*conn).serve", "(*connReader).backgroundRead", "(*persistConn).readLoop", "(*persistConn).writeLoop"} {
		ignored = append(ignored, goleak.IgnoreAnyFunction("net/http."+f))
	}
	return ignored
}

// controlAddress is that of node n.
func controlAddress(n int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("fd00:7a6f::%d", n)) }

func controlAddresses() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("look for the loopback interface: %w", err)
	}
	for n := 1; n <= 9; n++ {
		address, err := netlink.ParseAddr(controlAddress(n).String() + "/128")
		if err != nil {
			return err
		}
		address.Flags = unix.IFA_F_NODAD // can be used at once
		if err := netlink.AddrAdd(lo, address); err != nil {
			return fmt.Errorf("give the loopback interface %s: %w", address, err)
		}
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set the loopback interface up: %w", err)
	}
	return nil
}

// requireNetwork ends the test unless it is in a namespace of its own.
func requireNetwork(t testing.TB) {
	t.Helper()
	testenv.RequireRoot(t)
	if _, err := os.Stat("/proc/self/ns/net"); err != nil || os.Getenv(inNamespace) == "" {
		t.Fatal("not in a network namespace of its own")
	}
}
