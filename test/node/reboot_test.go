package node

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
)

// TestReboot takes away all that a reboot takes, pins, links, namespaces and
// runDir, and starts the daemon on its state: networks and attachments come
// back, each with its address, and nothing else is open.
func TestReboot(t *testing.T) {
	n := startServing(t, lab.Config{})
	before, err := n.daemon.Network(t.Context(), "red")
	if err != nil {
		t.Fatal(err)
	}
	if err := n.daemon.Kill(); err != nil {
		t.Fatal(err)
	}
	n.forget()
	if err := n.daemon.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, w := range []**lab.Workload{&n.web, &n.db, &n.api, &n.store} {
		now, err := n.daemon.Workload(t.Context(), (*w).Network, (*w).Workload)
		if err != nil {
			t.Fatal(err)
		}
		if now.Address != (*w).Address {
			t.Errorf("%s had %v and has %v", now.Name, (*w).Address, now.Address)
		}
		*w = now
	}
	after, err := n.daemon.Network(t.Context(), "red")
	if err != nil || before.Prefixes["n1"] != after.Prefixes["n1"] {
		t.Errorf("red had %v and has %v, %v", before.Prefixes, after.Prefixes, err)
	}
	n.eventually(10*time.Second, func() error {
		_, err := os.Stat(n.web.Path())
		return err
	})
	// What listened in the old namespaces went with them.
	n.serve(n.web.Machine, at(n.web, webPort))
	n.serve(n.db.Machine, at(n.db, dbPort))
	n.stillEnforced()
	n.connects(n.web.Machine, at(n.db, dbPort), probe.Answered)
	n.connects(n.api.Machine, at(n.db, dbPort), probe.Silent)
}

// forget is what a node forgets when it boots.
func (n *tenants) forget() {
	n.t.Helper()
	bpffs := n.daemon.BPFFS()
	for _, dir := range []string{"links", "progs", "maps"} {
		if err := os.RemoveAll(filepath.Join(bpffs, dir)); err != nil {
			n.t.Fatal(err)
		}
	}
	if err := unix.Unmount(bpffs, unix.MNT_DETACH); err != nil {
		n.t.Fatal(err)
	}
	if err := os.RemoveAll(n.Path("run")); err != nil {
		n.t.Fatal(err)
	}
	for _, w := range []*lab.Workload{n.web, n.db, n.api, n.store} {
		if err := unix.Unmount(w.Path(), unix.MNT_DETACH); err != nil {
			n.t.Fatal(err)
		}
		if err := os.Remove(w.Path()); err != nil {
			n.t.Fatal(err)
		}
	}
	h, err := n.Node.Netlink()
	if err != nil {
		n.t.Fatal(err)
	}
	defer h.Close()
	var links []netlink.Link
	n.eventually(10*time.Second, func() (err error) {
		links, err = h.LinkList() // inconsistent while the namespaces' links go
		return err
	})
	for _, l := range links {
		if name := l.Attrs().Name; name == "lo" || name == "eth0" {
			continue
		}
		if err := h.LinkDel(l); err != nil {
			n.t.Logf("%s: %v", l.Attrs().Name, err) // it went with its other end
		}
	}
}
