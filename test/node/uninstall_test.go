package node

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
)

// TestUninstall takes zosnet off a machine: what it made is gone, what was there
// before is as it was, and what it says stays does.
func TestUninstall(t *testing.T) {
	n := unstarted(t, lab.Config{})
	n.serve(n.Node, everywhere(22))
	host := netip.AddrPortFrom(lab.NodeIPv4, 22)
	n.connects(n.Outside, host, probe.Answered)
	before := n.untouched()
	daemon, err := n.StartDaemon(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n.daemon = daemon
	n.apply(red)
	web := n.attach("red", "web", "web-1")
	db := n.attach("red", "db", "db-1")
	n.serve(db.Machine, at(db, dbPort))
	n.connects(web.Machine, at(db, dbPort), probe.Answered)

	uninstall := []string{"uninstall", "--config", n.daemon.Config()}
	t.Run("it wants to be meant", func(t *testing.T) {
		n := n.inTest(t)
		n.fails(exitBadInput, uninstall...)
		n.connects(n.Outside, host, probe.Silent)
	})
	uninstall = append(uninstall, "--yes")
	t.Run("not under a daemon", func(t *testing.T) {
		n := n.inTest(t)
		if out := n.fails(exitFailed, uninstall...); !strings.Contains(out, "stop it first") {
			t.Errorf("it does not say what to do: %s", out)
		}
		n.connects(n.Outside, host, probe.Silent)
		n.connects(web.Machine, at(db, dbPort), probe.Answered)
	})
	if err := n.daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	n.connects(n.Outside, host, probe.Silent)
	t.Run("workloads are cut off, their links stay", func(t *testing.T) {
		n := n.inTest(t)
		out, err := n.daemon.CLI(t.Context(), uninstall...)
		if err != nil {
			t.Fatal(err)
		}
		for _, said := range []string{n.daemon.Config(), n.Path("state"), "--networks"} {
			if !strings.Contains(out, "stays: ") || !strings.Contains(out, said) {
				t.Errorf("it does not say that %s stays:\n%s", said, out)
			}
		}
		n.connects(n.Outside, host, probe.Answered)
		n.connects(web.Machine, at(db, dbPort), probe.Silent)
		if _, err := os.Stat(web.Path()); err != nil {
			t.Error(err)
		}
	})
	t.Run("again, with everything", func(t *testing.T) {
		n := n.inTest(t)
		if _, err := n.daemon.CLI(t.Context(), append(uninstall, "--networks")...); err != nil {
			t.Fatal(err)
		}
		if after := n.untouched(); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
		for _, path := range []string{web.Path(), n.Path("run/applied.json")} {
			if _, err := os.Stat(path); err == nil {
				t.Errorf("%s is still there", path)
			}
		}
		for _, dir := range []string{"links", "progs", "maps"} {
			if _, err := os.Stat(filepath.Join(n.daemon.BPFFS(), dir)); err == nil {
				t.Errorf("pins are left in %s", dir)
			}
		}
	})
	t.Run("a daemon that starts again makes it anew", func(t *testing.T) {
		n := n.inTest(t)
		if err := n.daemon.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		n.connects(n.Outside, host, probe.Silent)
		n.eventually(10*time.Second, func() error {
			_, err := os.Stat(web.Path())
			return err
		})
	})
}

// untouched is what the node's kernel holds that zosnet must leave as it was.
func (n *node) untouched() string {
	n.t.Helper()
	out, err := n.Node.Run(n.t.Context(), "sh", "-c", `ip -br link | sed 's/ .*//'; ip -6 -br addr; ip -6 route; ip -4 route
ip link show | grep -o 'prog/xdp.*'; tc qdisc; nft list tables
cd /proc/sys/net && grep . ipv6/conf/*/forwarding ipv6/conf/*/accept_ra ipv4/conf/*/arp_ignore ipv4/conf/*/arp_announce`)
	if err != nil {
		n.t.Fatal(err)
	}
	return out
}
