package lab_test

import (
	"context"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/testenv"
)

// TestGridTopology is the map of a grid's lab: who can call whom, and under which
// address a machine behind NAT is seen.
func TestGridTopology(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.RequireTool(t, "nft")
	const name = "gridmap"
	g, err := lab.NewGrid(t.Context(), lab.GridConfig{Name: name, Nodes: lab.ThreeNodes, Laptop: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
		mustBeGone(t, name)
		if _, err := os.Stat("/etc/netns/zl-" + name + "-laptop"); err == nil {
			t.Error("the laptop's resolv.conf is left")
		}
	})
	n1, n2, n3 := g.Nodes[0], g.Nodes[1], g.Nodes[2]
	for _, test := range []struct {
		from *lab.Machine
		to   netip.Addr
		hear bool
	}{
		{n1.Machine, n2.Address, true}, {n2.Machine, n1.Address, true}, {n1.Machine, lab.OutsideIPv4, true},
		{n3.Machine, n1.Address, true}, {n1.Machine, n3.Address, false}, {g.Outside, n3.Address, false},
		{g.Laptop, n1.Address, true}, {g.Laptop, lab.OutsideIPv4, true}, {g.Laptop, n3.Address, false},
		{g.Outside, n1.Address, true}, {n1.Machine, lab.OutsideIPv6, true}, {g.Outside, netip.MustParseAddr("2001:db8:1::65"), true},
	} {
		wait := "5" // of a loaded machine; of a way that is not there, enough
		if !test.hear {
			wait = "1"
		}
		if out, err := test.from.Run(t.Context(), "ping", "-c1", "-n", "-W"+wait, test.to.String()); (err == nil) != test.hear {
			t.Errorf("%s hears %v: %v, want %v\n%s", test.from.Name, test.to, err == nil, test.hear, out)
		}
	}
	for at, allocation := range map[string]string{"2001:db8:1::65": "2001:db8:aaaa:7::7", "2001:db8:1::66": "2001:db8:bbbb::1"} {
		if out, err := g.Router.Run(t.Context(), "ip", "-6", "route", "get", allocation); err != nil || !strings.Contains(out, "via "+at+" ") {
			t.Errorf("%s is not routed to %s: %v\n%s", allocation, at, err, out)
		}
	}
	t.Run("NAT hides who is behind it", func(t *testing.T) {
		for _, m := range []*lab.Machine{n3.Machine, g.Laptop} {
			if seen := seenAt(t, g.Outside, m); !netip.MustParsePrefix("192.0.2.0/24").Contains(seen) {
				t.Errorf("%s is seen as %v", m.Name, seen)
			}
		}
	})
	t.Run("the laptop has a resolv.conf of its own", func(t *testing.T) {
		before, _ := os.ReadFile("/etc/resolv.conf")
		if _, err := g.Laptop.Run(t.Context(), "sh", "-c", "echo nameserver 2001:db8::53 >/etc/resolv.conf"); err != nil {
			t.Fatal(err)
		}
		out, err := g.Laptop.Run(t.Context(), "cat", "/etc/resolv.conf")
		if err != nil || out != "nameserver 2001:db8::53\n" {
			t.Errorf("%q %v", out, err)
		}
		if after, _ := os.ReadFile("/etc/resolv.conf"); string(after) != string(before) {
			t.Error("the machine's own resolv.conf changed")
		}
	})
}

// TestKeptGrid is a grid's lab from another process: its machines are found, each with
// the daemon that zosnet talks to there.
func TestKeptGrid(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.RequireTool(t, "nft")
	const name = "keptgrid"
	g, err := lab.NewGrid(t.Context(), lab.GridConfig{Name: name, Nodes: lab.ThreeNodes, Laptop: true, Keep: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lab.Remove(name) }()
	if err := g.Release(); err != nil {
		t.Fatal(err)
	}
	for machine, want := range map[string]string{
		"n1": "n1", "n3": "n3", "outside": "n1", // a machine without a daemon asks the first
	} {
		m, err := lab.Find(name, machine)
		if err != nil {
			t.Fatal(err)
		}
		out, err := m.Run(t.Context(), "sh", "-c", "echo $ZOSNET_SOCKET")
		if err != nil || strings.TrimSpace(out) != g.Path(want+"/run/zosnet.sock") {
			t.Errorf("on %s zosnet talks to %q %v, want that of %s", machine, out, err, want)
		}
	}
	laptop, err := lab.Find(name, "laptop")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := laptop.Run(t.Context(), "sh", "-c", "command -v resolvconf"); err != nil || !strings.HasPrefix(out, g.Path("laptop")) {
		t.Errorf("the laptop's resolvconf is %q %v", out, err)
	}
	if err := lab.Remove(name); err != nil {
		t.Error(err)
	}
	mustBeGone(t, name)
}

// seenAt sends a datagram from one machine to another, and gives the sender's address
// as it arrives.
func seenAt(t *testing.T, at, from *lab.Machine) netip.Addr {
	t.Helper()
	server, err := at.ListenPacket("udp", netip.AddrPortFrom(lab.OutsideIPv4, 4000).String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := from.Dial(ctx, "udp", server.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte("who am I?")); err != nil {
		t.Fatal(err)
	}
	if err := server.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, sender, err := server.ReadFrom(make([]byte, 100))
	if err != nil {
		t.Fatal(err)
	}
	return netip.MustParseAddrPort(sender.String()).Addr().Unmap()
}
