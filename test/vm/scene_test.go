//go:build vm

package vm

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
)

// scene is a node and the world. A test lays the link between them: up0 on the
// node, eth0 in the world.
type scene struct {
	*node
	world *lab.Machine
}

// newScene makes both machines, each with a server on all of its addresses, the
// node's at sshPort and the world's at webPort; document is the rest of node.yaml.
// lay makes the link, before a daemon runs.
func newScene(t *testing.T, document string, lay func(node, world *lab.Machine)) *scene {
	t.Helper()
	on, world := machine(t, "node"), machine(t, "world")
	lay(on, world)
	serve(t, on, everywhere(sshPort))
	serve(t, world, everywhere(webPort))
	return &scene{newNode(t, on, document), world}
}

// cable makes a veth pair between two machines.
func cable(t *testing.T, a *lab.Machine, aLink string, b *lab.Machine, bLink string) {
	t.Helper()
	run(t, a, "ip link add "+aLink+" type veth peer name "+bLink+" netns "+b.Name)
}

// address gives a link addresses that can be used at once, and sets it up.
func address(t *testing.T, on *lab.Machine, link string, addresses ...string) {
	t.Helper()
	setting := "net/ipv6/conf/" + link + "/accept_dad"
	if err := on.Sysctl(setting, "0"); err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		nodad := ""
		if strings.Contains(a, ":") {
			nodad = " nodad"
		}
		run(t, on, "ip addr add "+a+" dev "+link+nodad)
	}
	run(t, on, "ip link set "+link+" up")
}

// addressBoth gives the ends of the link their addresses, the node a way out and
// the world a way to the node's allocation.
func addressBoth(t *testing.T, node *lab.Machine, nodeLink string, world *lab.Machine, worldLink string) {
	t.Helper()
	address(t, node, nodeLink, lab.NodeIPv4.String()+"/24", lab.NodeIPv6.String()+"/64")
	address(t, world, worldLink, worldIPv4.String()+"/24", worldIPv6.String()+"/64")
	run(t, node, "ip route add default via "+worldIPv4.String(), "ip -6 route add default via "+worldIPv6.String())
	run(t, world, "ip -6 route add "+lab.Allocation.String()+" via "+lab.NodeIPv6.String())
}

// behaves holds what every uplink owes: the host is invisible, reaches the world,
// and of a tenant the world reaches what is exposed.
func (s *scene) behaves() {
	s.t.Helper()
	closed(s.t, s.world, lab.NodeIPv4, lab.NodeIPv6)
	for _, a := range []netip.Addr{worldIPv4, worldIPv6} {
		pings(s.t, s.Machine, a, probe.Answered)
		connects(s.t, s.Machine, netip.AddrPortFrom(a, webPort), probe.Answered)
	}
	s.carries()
}

// carries holds the tenant's part of it.
func (s *scene) carries() {
	s.t.Helper()
	s.apply("red", red)
	web, db := s.attach("red", "web", "web-1"), s.attach("red", "db", "db-1")
	serve(s.t, web.Machine, web.at(webPort))
	serve(s.t, db.Machine, db.at(dbPort))
	connects(s.t, s.world, web.at(webPort), probe.Answered)
	connects(s.t, s.world, db.at(dbPort), probe.Silent)
	connects(s.t, web.Machine, db.at(dbPort), probe.Answered)
	connects(s.t, db.Machine, web.at(webPort), probe.Silent)
	connects(s.t, web.Machine, netip.AddrPortFrom(worldIPv6, webPort), probe.Answered)
}
