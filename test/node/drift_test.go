package node

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
)

// repairWithin is the promise for drift.
const repairWithin = 5 * time.Second

// TestDrift takes away, one by one, things that the daemon made: each comes
// back within five seconds, and the repair is counted.
func TestDrift(t *testing.T) {
	n := startServing(t, lab.Config{})
	prefix := netip.PrefixFrom(n.web.Address, 64).Masked()
	route, err := n.Node.Run(t.Context(), "ip", "-6", "route", "show", prefix.String())
	if err != nil {
		t.Fatal(err)
	}
	bridge := wordAfter(route, "dev")
	if bridge == "" {
		t.Fatalf("no bridge in the route of %v: %q", prefix, route)
	}
	pins := filepath.Join(n.daemon.BPFFS(), "links")
	for name, command := range map[string][]string{
		"the network's route":       {"ip", "-6", "route", "del", prefix.String(), "dev", bridge},
		"the unreachable route":     {"ip", "-6", "route", "del", "unreachable", lab.Allocation.String()},
		"the bridge":                {"ip", "link", "del", bridge},
		"the gateway's address":     {"ip", "-6", "addr", "del", n.web.Gateway().String() + "/64", "dev", bridge},
		"the bridge set down":       {"ip", "link", "set", bridge, "down"},
		"a workload off its bridge": {"ip", "link", "set", n.web.Interface, "nomaster"},
		"every pinned link":         {"sh", "-c", "rm -f " + pins + "/*"},
	} {
		t.Run(name, func(t *testing.T) {
			n := n.inTest(t)
			before := n.repairs()
			if out, err := n.Node.Run(t.Context(), command[0], command[1:]...); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			n.eventually(repairWithin, func() error {
				if got := n.repairs(); got <= before {
					return fmt.Errorf("%v repairs are counted, as before", got)
				}
				if _, err := n.daemon.Status(t.Context()); err != nil {
					return err
				}
				return nil
			})
			now, err := n.Node.Run(t.Context(), "ip", "-6", "route", "show", prefix.String())
			if err != nil || !strings.Contains(now, "dev "+bridge) {
				t.Errorf("route of %v: %q %v", prefix, now, err)
			}
			n.stillEnforced()
		})
	}
}

func (n *node) repairs() float64 {
	n.t.Helper()
	count, err := n.daemon.Counter(n.t.Context(), "zosnet_repairs_total", nil)
	if err != nil {
		n.t.Fatal(err)
	}
	return count
}

func wordAfter(text, word string) string {
	fields := strings.Fields(text)
	for i := range len(fields) - 1 {
		if fields[i] == word {
			return fields[i+1]
		}
	}
	return ""
}

// TestUplinkComesAndGoes takes the node's only cable away and plugs another
// in: nothing is open for a moment, and everything works again.
func TestUplinkComesAndGoes(t *testing.T) {
	n := startServing(t, lab.Config{})
	h, err := n.Node.Netlink()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	old, err := h.LinkByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.LinkDel(old); err != nil {
		t.Fatal(err)
	}
	n.connects(n.web.Machine, at(n.db, dbPort), probe.Answered)
	if _, err := n.daemon.Status(t.Context()); err == nil {
		t.Error("status says ready with no uplink")
	}
	if err := n.Replug(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.eventually(repairWithin, func() error {
		_, err := n.daemon.Status(t.Context())
		return err
	})
	n.stillEnforced()
	link, err := h.LinkByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	if link.Attrs().Xdp == nil || !link.Attrs().Xdp.Attached {
		t.Errorf("no XDP program on the new uplink")
	}
}

// TestDelete removes a network and everything that came from it, and nothing
// else.
func TestDelete(t *testing.T) {
	n := startServing(t, lab.Config{})
	before := n.kernel()
	n.apply("network: green\nnodes: [n1]\nservices: {a: {ports: [tcp/80]}, b: {}}\n")
	a := n.attach("green", "a", "a-1")
	n.serve(a.Machine, at(a, webPort))
	n.connects(n.web.Machine, at(a, webPort), probe.Silent)
	n.fails(exitFailed, "delete", "green")
	n.undisturbed(n.api, n.store, bulkPort, func() {
		if _, err := n.daemon.CLI(t.Context(), "delete", "green", "--force"); err != nil {
			t.Error(err)
		}
	})
	if _, err := os.Stat(a.Path()); err == nil {
		t.Errorf("%s is still there", a.Path())
	}
	if after := n.kernel(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	n.stillEnforced()
}

// kernel is what the node's kernel holds that people look at.
func (n *node) kernel() string {
	n.t.Helper()
	h, err := n.Node.Netlink()
	if err != nil {
		n.t.Fatal(err)
	}
	defer h.Close()
	var all strings.Builder
	links, err := h.LinkList()
	if err != nil {
		n.t.Fatal(err)
	}
	for _, l := range links {
		fmt.Fprintln(&all, "link", l.Attrs().Name, l.Type())
	}
	addrs, err := h.AddrList(nil, netlink.FAMILY_V6)
	if err != nil {
		n.t.Fatal(err)
	}
	for _, a := range addrs {
		fmt.Fprintln(&all, "address", a.IPNet)
	}
	routes, err := n.Node.Run(n.t.Context(), "ip", "-6", "route", "show", "table", "all")
	if err != nil {
		n.t.Fatal(err)
	}
	all.WriteString(routes)
	pins, err := os.ReadDir(filepath.Join(n.daemon.BPFFS(), "links"))
	if err != nil {
		n.t.Fatal(err)
	}
	for _, p := range pins {
		fmt.Fprintln(&all, "pin", p.Name())
	}
	return all.String()
}
