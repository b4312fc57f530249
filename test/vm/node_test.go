//go:build vm

package vm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/loader"
	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/testenv"
)

// readyWithin bounds a daemon's start, in a guest under translation.
const readyWithin = 90 * time.Second

// node is a machine with a zosnet daemon, or one that will have it.
type node struct {
	*lab.Machine
	t      *testing.T
	zosnet string
	dir    string // node.yaml, its state, sockets and bpffs
	cmd    *exec.Cmd
	ended  chan struct{}
}

// newNode makes what a daemon on the machine needs; document is the rest of its
// node.yaml. All of it goes with the test.
func newNode(t *testing.T, on *lab.Machine, document string) *node {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "node")
	if err != nil {
		t.Fatal(err)
	}
	n := &node{Machine: on, t: t, zosnet: testenv.Zosnet(t), dir: dir}
	text := fmt.Sprintf("node: n1\nprefixes: [%s]\nstateDir: %s\nrunDir: %s\nbpffs: %s\n%s",
		lab.Allocation, n.path("state"), n.path("run"), n.path("bpf/zosnet"), document)
	if err := os.WriteFile(n.path("node.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.remove)
	return n
}

func (n *node) path(name string) string { return filepath.Join(n.dir, name) }

// start starts the daemon and waits until it is ready.
func (n *node) start() {
	n.t.Helper()
	n.launch()
	n.waitReady()
}

// launch starts the daemon.
func (n *node) launch() {
	n.t.Helper()
	log, err := os.OpenFile(n.path("daemon.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		n.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	n.cmd = n.Command(context.Background(), n.zosnet, "daemon", "--config", n.path("node.yaml"))
	n.cmd.Stdout, n.cmd.Stderr = log, log
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	ended := make(chan struct{})
	n.ended = ended
	go func() {
		_ = n.cmd.Wait()
		close(ended)
	}()
}

func (n *node) waitReady() {
	n.t.Helper()
	eventually(n.t, readyWithin, func() error {
		select {
		case <-n.ended:
			n.t.Fatalf("the daemon ended: %v", n.cmd.ProcessState)
		default:
		}
		_, err := n.cli(context.Background(), "status")
		return err
	})
}

// cli runs a zosnet command and returns its standard output.
func (n *node) cli(ctx context.Context, args ...string) (string, error) {
	cmd := n.Command(ctx, n.zosnet, append([]string{"--socket", n.path("run/zosnet.sock")}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("zosnet %q: %w\n%s%s", args, err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}

func (n *node) mustCLI(args ...string) string {
	n.t.Helper()
	out, err := n.cli(n.t.Context(), args...)
	if err != nil {
		n.t.Fatal(err)
	}
	return out
}

func (n *node) decode(v any, args ...string) {
	n.t.Helper()
	out := n.mustCLI(append(args, "-o", "json")...)
	if err := json.Unmarshal([]byte(out), v); err != nil {
		n.t.Fatalf("zosnet %q: %v\n%s", args, err, out)
	}
}

func (n *node) apply(name, document string) {
	n.t.Helper()
	path := n.path(name + ".yaml")
	if err := os.WriteFile(path, []byte(document), 0o600); err != nil {
		n.t.Fatal(err)
	}
	n.mustCLI("apply", "-f", path)
}

// workload is an attached workload.
type workload struct {
	*lab.Machine
	address netip.Addr
}

func (w *workload) at(port uint16) netip.AddrPort { return netip.AddrPortFrom(w.address, port) }

func (n *node) attach(network, service, name string) *workload {
	n.t.Helper()
	n.mustCLI("attach", "--network", network, "--service", service, "--name", name)
	var shown lab.Network
	n.decode(&shown, "network", "show", network)
	for _, w := range shown.Workloads {
		if w.Name == name {
			ns := network + "." + name
			return &workload{lab.NewMachine(ns, "/run/netns/"+ns), w.Address}
		}
	}
	n.t.Fatalf("network %s has no workload %s: %+v", network, name, shown)
	return nil
}

// uplinks gives what status says of them: "up0 xdp native".
func (n *node) uplinks() []string {
	n.t.Helper()
	var status lab.Status
	n.decode(&status, "status")
	var list []string
	for _, u := range status.Uplinks {
		list = append(list, u.Name+" "+u.Hook+" "+u.Mode)
	}
	return list
}

// stop ends the daemon by a signal.
func (n *node) stop(signal unix.Signal) {
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Signal(signal)
	select {
	case <-n.ended:
	case <-time.After(30 * time.Second):
		n.t.Errorf("the daemon did not end within 30s of %v", signal)
		_ = n.cmd.Process.Kill()
		<-n.ended
	}
	n.cmd = nil
}

// remove takes the node away, and shows its log if the test has failed.
func (n *node) remove() {
	if n.cmd != nil {
		for _, network := range []string{"red", "blue"} {
			_, _ = n.cli(context.Background(), "delete", network, "--force")
		}
	}
	n.stop(unix.SIGTERM)
	if n.t.Failed() {
		const most = 8000
		log, _ := os.ReadFile(n.path("daemon.log"))
		n.t.Logf("the daemon's log:\n%s", log[max(0, len(log)-most):])
	}
	check(n.t, "remove the datapath", n.Do(func() error { return loader.Remove(n.path("bpf/zosnet")) }))
	for mount := n.path("bpf/zosnet"); len(mount) >= len(n.path("bpf")); mount = filepath.Dir(mount) {
		if err := unix.Unmount(mount, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			n.t.Errorf("unmount %s: %v", mount, err)
		}
	}
	check(n.t, "remove the node's directory", os.RemoveAll(n.dir))
}
