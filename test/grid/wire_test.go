package grid_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/gopacket/gopacket"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
	"github.com/zosnet/zosnet/test/testenv"
)

// marker is what the tenants say to each other, and nobody else may read.
const marker = "what tenants say to each other"

// TestWire is a network over two nodes, one of them behind NAT, as it looks from
// between them: while tenants talk, the wires carry WireGuard and what neighbours
// say, and nothing else; and a person who joins.
func TestWire(t *testing.T) {
	t.Parallel()
	testenv.RequireTool(t, "wg-quick")
	s := newScene(t)
	t.Run("WireGuard is the kernel's where it has one", func(t *testing.T) {
		kernel := s.nodes[0].hasWireGuard()
		for _, n := range s.nodes {
			if processes := len(n.carriers()); (processes == 0) != kernel {
				t.Errorf("%s has %d processes that carry WireGuard; WireGuard in the kernel: %v", n.name, processes, kernel)
			}
		}
	})
	t.Run("nothing is to be read on the wires", func(t *testing.T) {
		wires := s.openWires(t)
		for range 5 {
			for _, from := range s.workloads {
				s.talk(t, from)
			}
		}
		carried := 0
		for at, wire := range wires {
			wire.Frames(func(p gopacket.Packet) bool {
				kind := probe.KindOf(p, ofNodes)
				if kind == probe.WireGuard {
					carried++
				}
				if kind == probe.Unknown || bytes.Contains(p.Data(), []byte(marker)) {
					t.Errorf("coming in at %s: %v", at, p)
				}
				return false
			})
		}
		if want := 5 * len(s.workloads); carried < want {
			t.Errorf("%d frames of WireGuard were seen, want at least %d", carried, want)
		}
	})
	t.Run("a person joins by wg-quick", s.wgQuick)
}

// wgQuick is a person who joins with what `access add` prints, by the real wg-quick,
// from behind NAT: she reaches what she may, by name, and nothing once her access is
// revoked.
func (s *scene) wgQuick(t *testing.T) {
	alice := s.join(t, "web")
	web, db := s.workloads[0], s.workloads[1]
	allowed := netip.AddrPortFrom(web.address, pagePort)
	page, outcome, err := probe.Get(t.Context(), alice, allowed, patience)
	if err != nil || outcome != probe.Answered || page != marker {
		t.Fatalf("what she may reach: %q %s %v", page, outcome, err)
	}
	if outcome, err := probe.Connect(t.Context(), alice, netip.AddrPortFrom(db.address, pagePort), 2*time.Second); err != nil || outcome != probe.Silent {
		t.Errorf("what she may not reach: %s %v", outcome, err)
	}
	if found, err := probe.Resolve(t.Context(), alice, "web."+s.network+".internal"); err != nil || found != web.address.String() {
		t.Errorf("her laptop is told %s %v, want %v", found, err, web.address)
	}
	s.access(t, "access", "revoke", "alice")
	if outcome, err := probe.Connect(t.Context(), alice, allowed, 2*time.Second); err != nil || outcome != probe.Silent {
		t.Errorf("with her access revoked: %s %v", outcome, err)
	}
}

// join adds alice and brings her laptop's tunnel up.
func (s *scene) join(t *testing.T, service string) *lab.Machine {
	t.Helper()
	config := s.access(t, "access", "add", "alice", "--allow", service)
	file := s.grid.Path("laptop/" + s.network + ".conf")
	check(t, os.WriteFile(file, []byte(config), 0o600))
	_, err := s.grid.Laptop.Run(t.Context(), "wg-quick", "up", file)
	check(t, err)
	return s.grid.Laptop
}

// access runs a verb of `zosnet access` for the network, at the node that has the
// registry and where the device ends: in a starved guest the way there may take longer
// than the daemon waits.
func (s *scene) access(t *testing.T, args ...string) string {
	t.Helper()
	out, err := s.nodes[0].cli(append(args, "--network", s.network, "--key", s.key)...)
	check(t, err)
	return out + "\n"
}

// scene is a network over a node on the Internet and one at home behind NAT, with a
// server on each.
type scene struct {
	t         *testing.T
	grid      *lab.Grid
	nodes     []*node
	network   string
	key       string // file of its owner's key
	workloads []endpoint
}

const pagePort = 80

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{t: t, network: "w" + own()}
	config := lab.GridConfig{Nodes: []lab.NodeConfig{{}, {NAT: true}}, Laptop: true}
	if os.Getenv("ZOSNET_VM") == "" { // a guest's kernel has WireGuard
		config.WireGuard = testenv.WireGuardGo(t)
	}
	s.grid, s.nodes = newLab(t, config)
	for _, n := range s.nodes {
		n.start()
	}
	first, home := s.nodes[0], s.nodes[1]
	first.place("grid", "init")
	home.place("grid", "join", first.token())
	s.key = first.ownerKey("owner.key")
	check(t, home.ApplyAs(t.Context(), s.key, fmt.Sprintf(
		"network: %s\nnodes: [%s, %s]\nservices: {web: {ports: [tcp/80]}, db: {ports: [tcp/80]}}\n", s.network, first.name, home.name)))
	for i, service := range []string{"web", "db"} {
		n := s.nodes[i]
		n.hasNetwork(s.network, true)
		w := n.attach(s.network, service, service+"-1")
		server, err := probe.ServeHTTP(w.Machine, netip.AddrPortFrom(w.address, pagePort), marker)
		check(t, err)
		t.Cleanup(server.Close)
		s.workloads = append(s.workloads, w)
	}
	for i, w := range s.workloads {
		w.reaches(t, s.workloads[1-i])
	}
	return s
}

// hasWireGuard says whether the node's kernel makes such links.
func (n *node) hasWireGuard() bool {
	n.t.Helper()
	if _, err := n.Run(n.t.Context(), "ip", "link", "add", "try0", "type", "wireguard"); err != nil {
		return false
	}
	_, err := n.Run(n.t.Context(), "ip", "link", "del", "try0")
	check(n.t, err)
	return true
}

// openWires opens where the packets of both nodes come in, before a node's own
// programs could drop what should not be there: at the home's router from either side.
func (s *scene) openWires(t *testing.T) map[string]*probe.Wire {
	t.Helper()
	wires := map[string]*probe.Wire{}
	for _, at := range []struct {
		machine *lab.Machine
		link    string
	}{{s.nodes[0].Machine, "eth0"}, {s.nodes[1].NAT, "far"}, {s.nodes[1].NAT, "near"}} {
		wire, err := probe.OpenWire(at.machine, at.link)
		check(t, err)
		t.Cleanup(wire.Close)
		wires[at.machine.Name+" "+at.link] = wire
	}
	return wires
}

// talk fetches the page of each other workload.
func (s *scene) talk(t *testing.T, from endpoint) {
	t.Helper()
	for _, to := range s.workloads {
		if to == from {
			continue
		}
		page, outcome, err := probe.Get(t.Context(), from.Machine, netip.AddrPortFrom(to.address, pagePort), 30*time.Second)
		if err != nil || outcome != probe.Answered || page != marker {
			t.Fatalf("%v gets from %v: %q %s %v", from.address, to.address, page, outcome, err)
		}
	}
}

// ofNodes says whether WireGuard of nodes may listen on a port: the control network's
// or a network's (docs/wireguard.md).
func ofNodes(port uint16) bool { return port >= 20479 && port <= 28671 }
