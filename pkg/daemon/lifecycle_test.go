package daemon_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
)

// The registry cannot be opened: the host is locked down all the same.
func TestLockdownBeforeTheRegistry(t *testing.T) {
	n := start(t, "")
	server, err := probe.ServeHTTP(n.Node, netip.AddrPortFrom(lab.NodeIPv4, 22), "ssh")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if err := n.daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	// As at a boot: nothing is pinned, and the registry is broken.
	if err := os.RemoveAll(filepath.Join(n.daemon.BPFFS(), "links")); err != nil {
		t.Fatal(err)
	}
	// A kernel without tcx has its tc programs here; with tcx there is no such qdisc.
	_, _ = n.Node.Run(t.Context(), "tc", "qdisc", "del", "dev", "eth0", "clsact")
	n.connects(n.Outside, netip.AddrPortFrom(lab.NodeIPv4, 22), probe.Answered)
	databases, err := filepath.Glob(n.Path("state/etcd/member/snap/db"))
	if err != nil || len(databases) != 1 {
		t.Fatalf("databases %v, %v", databases, err)
	}
	if err := os.WriteFile(databases[0], bytes.Repeat([]byte("no database "), 10000), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := n.daemon.Launch(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-n.daemon.Exited():
	case <-time.After(time.Minute):
		t.Fatal("the daemon runs on")
	}
	if code := n.daemon.ExitCode(); code != 1 {
		t.Errorf("exit status %d", code)
	}
	n.connects(n.Outside, netip.AddrPortFrom(lab.NodeIPv4, 22), probe.Silent)
	if !strings.Contains(n.log(), "lockdown is in force") {
		t.Error("it does not say so")
	}
}

// SIGHUP takes a new node.yaml; one that is wrong changes nothing.
func TestReload(t *testing.T) {
	n := start(t, "lockdown: {allow: []}\n")
	server, err := probe.ServeHTTP(n.Node, netip.AddrPortFrom(lab.NodeIPv4, 8080), "node")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	at := netip.AddrPortFrom(lab.NodeIPv4, 8080)
	n.connects(n.Outside, at, probe.Silent)
	closed, err := os.ReadFile(n.daemon.Config())
	if err != nil {
		t.Fatal(err)
	}
	reload := func(text, answer string) {
		t.Helper()
		before := len(n.log())
		if err := os.WriteFile(n.daemon.Config(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := unix.Kill(n.daemon.PID(), unix.SIGHUP); err != nil {
			t.Fatal(err)
		}
		n.eventually(30*time.Second, func() error {
			if log := n.log()[before:]; !strings.Contains(log, answer) {
				return fmt.Errorf("the log has no %q: %s", answer, log)
			}
			return nil
		})
	}
	open := strings.Replace(string(closed), "allow: []", "allow: [{from: 198.51.100.0/24, ports: [tcp/8080]}]", 1)
	reload(open, "msg=reloaded")
	n.connects(n.Outside, at, probe.Answered)
	reload(open+"colour: green\n", "found an unknown key")
	n.connects(n.Outside, at, probe.Answered)
	reload(strings.Replace(open, "node: n1", "node: n2", 1), "takes a restart")
	n.connects(n.Outside, at, probe.Answered)
	reload(string(closed), "msg=reloaded")
	n.connects(n.Outside, at, probe.Silent)
}

// A trial outlives the daemon that was asked for it, and a confirmed one too,
// until node.yaml is reread.
func TestTrialAndRestart(t *testing.T) {
	n := start(t, "")
	server, err := probe.ServeHTTP(n.Node, netip.AddrPortFrom(lab.NodeIPv4, 8080), "node")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	at := netip.AddrPortFrom(lab.NodeIPv4, 8080)
	other := n.write("other.yaml", "node: n1\nlockdown: {allow: [{from: 198.51.100.0/24, ports: [tcp/8080]}]}\n")
	n.cli("lockdown", "try", "--for", "30s", "-f", other)
	n.connects(n.Outside, at, probe.Answered)
	if err := n.daemon.Kill(); err != nil {
		t.Fatal(err)
	}
	n.connects(n.Outside, at, probe.Answered)
	if err := n.daemon.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if shown := n.cli("lockdown", "show"); !strings.Contains(shown, "A trial is in force") {
		t.Errorf("after a restart:\n%s", shown)
	}
	n.cli("lockdown", "confirm")
	if err := n.daemon.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.connects(n.Outside, at, probe.Answered)
	if shown := n.cli("lockdown", "show"); !strings.Contains(shown, "A confirmed trial is in force") {
		t.Errorf("after another restart:\n%s", shown)
	}
	if err := unix.Kill(n.daemon.PID(), unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	n.eventually(30*time.Second, func() error {
		if shown := n.cli("lockdown", "show"); !strings.Contains(shown, "What node.yaml says is in force") {
			return errors.New(shown)
		}
		return nil
	})
	n.connects(n.Outside, at, probe.Silent)
}

// The service manager hears of start, reload and end, and the watchdog is fed.
func TestServiceManager(t *testing.T) {
	n := start(t, "")
	if err := n.daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	path := n.Path("notify.sock")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = manager.Close() }()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "300000")
	if err := n.daemon.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	hears := func(want string) {
		t.Helper()
		if err := manager.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		buffer := make([]byte, 4096)
		for {
			size, err := manager.Read(buffer)
			if err != nil {
				t.Fatalf("no %s: %v", want, err)
			}
			if strings.HasPrefix(string(buffer[:size]), want) {
				return
			}
		}
	}
	hears("READY=1\nSTATUS=everything is enforced")
	hears("WATCHDOG=1")
	hears("WATCHDOG=1")
	if err := unix.Kill(n.daemon.PID(), unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	hears("RELOADING=1\nMONOTONIC_USEC=")
	hears("READY=1")
	if err := n.daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	hears("STOPPING=1")
	if code := n.daemon.ExitCode(); code != 0 {
		t.Errorf("exit status %d", code)
	}
	for _, name := range []string{"run/zosnet.sock", "run/metrics.sock"} {
		if _, err := os.Stat(n.Path(name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", name, err)
		}
	}
}
