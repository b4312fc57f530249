package apply

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	bpf "github.com/zosnet/zosnet/pkg/maps"
	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/spec"
	"github.com/zosnet/zosnet/pkg/wireguard"
	"github.com/zosnet/zosnet/pkg/wireguard/device"
)

// manyNetworks has TestManyNetworks go up to so many; docs/scale.md has the figures.
const manyNetworks = "ZOSNET_NETWORKS"

const peersOfEach = 8

// TestManyNetworks: what it costs to find that nothing has changed, to change one peer
// and to add an address on another node does not grow with the networks of the node,
// and what the slow check costs grows slowly: it does not ask each device.
func TestManyNetworks(t *testing.T) {
	if alone(t) {
		return
	}
	most := 40
	if text := os.Getenv(manyNetworks); text != "" {
		var err error
		most, err = strconv.Atoi(text)
		check(t, err)
	}
	ownSockets(t)
	n := startNode(t)
	keys, err := wireguard.OpenKeys(filepath.Join(t.TempDir(), "keys"))
	check(t, err)
	devices, err := device.Open(device.Config{RunDir: t.TempDir(), Log: discard})
	check(t, err)
	t.Cleanup(devices.Close)
	n.config.Keys, n.config.Devices = keys, devices
	calls := countSyscalls(t)
	t.Cleanup(func() {
		n.setWatched(false)
		_, err := n.Apply(context.Background(), grid{}.state(t))
		check(t, err)
	})

	few := n.costs(t, calls, 5)
	many := n.costs(t, calls, most)
	for _, row := range []struct {
		what      string
		few, many int
	}{{"nothing changed", few.nothing, many.nothing}, {"one changed peer", few.peer, many.peer}, {"one more address elsewhere", few.address, many.address}} {
		if row.many > row.few+row.few/4 {
			t.Errorf("%s: %d calls with 5 networks, %d with %d", row.what, row.few, row.many, most)
		}
	}
	if each := (many.check - few.check) / (most - 5); each > 25 {
		t.Errorf("a check takes %d calls more for each network", each)
	}
}

// costs are calls of the kernel, and of the process that carries the devices.
type costs struct{ nothing, peer, address, check int }

// costs brings a node to so many networks and measures changes to one of them.
func (n *node) costs(t *testing.T, calls *syscalls, networks int) (c costs) {
	t.Helper()
	in, memo := spanningInput(t, n, networks), &plan.Memo{}
	state := func() plan.State {
		s, err := memo.Compute(in)
		check(t, err)
		if len(s.Overlays) != networks || len(s.Ignored) != 0 {
			t.Fatalf("%d overlays, ignored %v", len(s.Overlays), s.Ignored)
		}
		return s
	}
	timed := func(what string, do func()) (count int) {
		begin, used := time.Now(), processorTime(t)
		count = calls.of(do)
		t.Logf("%4d networks, %-28s %7d calls %10v of a processor %10v in all", networks, what+":", count,
			(processorTime(t) - used).Round(10*time.Microsecond), time.Since(begin).Round(10*time.Microsecond))
		return count
	}
	n.setWatched(false)
	s := state()
	timed("cold", func() { n.apply(s) })
	timed("a next daemon's first", func() { n.unchanged(s) })
	n.setWatched(true)
	s = state()
	c.nothing = timed("nothing changed", func() { n.unchanged(s) })

	part := &in.Parts[networks/2*(peersOfEach+1)+3]
	part.Port++
	s = state()
	c.peer = timed("one changed peer", func() { n.apply(s) })
	for _, o := range s.Overlays {
		if o.Network == part.Network {
			is, err := n.config.Devices.Read(o.Interface)
			check(t, err)
			if len(is.Peers) != peersOfEach || !hasEndpoint(is, part) {
				t.Errorf("the changed peer is not in %s: %+v", o.Interface, is.Peers)
			}
		}
	}
	remote := &in.Remote[len(in.Remote)/2]
	remote.Addresses = append(remote.Addresses, remote.Addresses[0].Next())
	s = state()
	c.address = timed("one more address elsewhere", func() { n.apply(s) })
	have, err := n.datapath.Maps().AllBindings()
	check(t, err)
	if b, bound := have[bpf.BindingOf(remote.Addresses[1], 0)]; !bound || b.Kind != bpf.PortOverlay {
		t.Errorf("%v is bound: %v, %+v", remote.Addresses[1], bound, b)
	}
	slow := func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		result, err := n.pass(t.Context(), s, true)
		check(t, err)
		if len(result.Changes) > 0 {
			t.Errorf("nothing had drifted: %v", result.Changes)
		}
	}
	slow() // it learns what a look costs
	c.check = timed("a check", slow)
	memo = &plan.Memo{}
	timed("the first plan", func() { s = state() })
	remote.Addresses = remote.Addresses[:1]
	next := s
	timed("the plan after that", func() { next = state() })
	timed("comparing the two", func() {
		if changed, only := plan.ChangedNetworks(s, next); len(changed) != 1 || !only {
			t.Errorf("one network has changed, found %v, only these: %v", changed, only)
		}
	})
	return c
}

func hasEndpoint(is wireguard.Status, part *plan.Part) bool {
	for _, p := range is.Peers {
		if p.PublicKey == wireguard.PublicKey(part.PublicKey) {
			return p.Endpoint.Port() == part.Port
		}
	}
	return false
}

// spanningInput is what a node with so many networks plans from: each spans
// peersOfEach other nodes, with one workload on each of those.
func spanningInput(t *testing.T, n *node, networks int) plan.Input {
	t.Helper()
	in := plan.Input{
		Node: &spec.Node{Name: "n0", Uplinks: []string{"up0"}, Endpoint: netip.MustParseAddr("192.0.2.1"),
			Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8:aaaa::/48")}},
		FlowSets: 1 << 18, FlowShares: 6,
	}
	nodes := []string{"n0"}
	for j := 1; j <= peersOfEach; j++ {
		name := fmt.Sprintf("n%d", j)
		nodes = append(nodes, name)
		in.Nodes = append(in.Nodes, plan.Node{Name: name, Endpoint: netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", 1+j)),
			Blocks: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("2001:db8:%x::/48", j))}})
	}
	for i := 1; i <= networks; i++ {
		name := fmt.Sprintf("net-%d", i)
		key, err := n.config.Keys.Make(name)
		check(t, err)
		in.Networks = append(in.Networks, plan.Record{
			Document: &spec.Network{Name: name, Nodes: nodes,
				Default:  spec.Default{Inside: spec.Allow, Inbound: spec.Deny, Outbound: spec.Allow},
				Services: []spec.Service{{Name: "web"}}},
			ID: uint32(i), Prefix: netip.MustParsePrefix(fmt.Sprintf("2001:db8:aaaa:%x::/64", i)), Services: map[string]uint32{"web": uint32(i)},
		})
		in.Parts = append(in.Parts, plan.Part{Network: name, Node: "n0", Prefix: in.Networks[i-1].Prefix, PublicKey: key.Public(), Port: uint16(20480 + i)})
		for j, other := range in.Nodes {
			prefix := netip.MustParsePrefix(fmt.Sprintf("2001:db8:%x:%x::/64", j+1, i))
			in.Parts = append(in.Parts, plan.Part{Network: name, Node: other.Name, Prefix: prefix,
				PublicKey: peerKey(i, j), Port: uint16(20480 + i)})
			in.Remote = append(in.Remote, plan.Remote{Network: name, Service: "web", Name: fmt.Sprintf("web-%d", j), Node: other.Name,
				Addresses: []netip.Addr{prefix.Addr().Next().Next()}})
		}
	}
	return in
}

// peerKey is a key that nobody has: any 32 bytes are one.
func peerKey(i, j int) (key [32]byte) {
	key[0], key[1], key[2], key[31] = byte(i), byte(i>>8), byte(j+1), 1
	return key
}
