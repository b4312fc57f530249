package delegation

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/spec"
	"github.com/zosnet/zosnet/pkg/underlay"
)

// Routes gives what an upstream must route where. What this node holds is routed to it,
// but for the blocks that other nodes have; and so are the blocks that it has of others.
// Via is where the upstream sends what is this node's; not valid: to NextHop. Of what is
// left out since nobody knows where its node is, unrouted says so.
func (s *Space) Routes(ctx context.Context, via netip.Addr) (routes []ipam.Route, unrouted []string, err error) {
	local, err := s.store.Snapshot(ctx)
	if err != nil {
		return nil, nil, err
	}
	if !via.IsValid() {
		if via, err = s.NextHop(local); err != nil {
			return nil, nil, err
		}
	}
	node, hops := s.node(), s.nextHops()
	hops[node.Name] = via
	blocks := routed(node, local, s.given())
	for _, p := range sortedPrefixes(blocks) {
		if _, known := hops[blocks[p]]; !known {
			unrouted = append(unrouted, fmt.Sprintf("%s is node %s's, of which no IPv6 address is known: it stays with what is around it", p, blocks[p]))
			delete(blocks, p)
		}
	}
	if routes, err = ipam.Routes(blocks, hops); err != nil {
		return nil, nil, refused("%w", err)
	}
	return routes, unrouted, nil
}

func sortedPrefixes[V any](m map[netip.Prefix]V) []netip.Prefix {
	return slices.SortedFunc(maps.Keys(m), netip.Prefix.Compare)
}

// routed tells what is to be routed to which node.
func routed(node *spec.Node, local registry.Snapshot, given map[netip.Prefix]ipam.Delegation) map[netip.Prefix]string {
	blocks := map[netip.Prefix]string{}
	for block, delegation := range given {
		if delegation.Owned() && delegation.Node != node.Name {
			blocks[block] = delegation.Node
		}
	}
	for _, b := range local.Blocks {
		if b.Holder != node.Name {
			blocks[b.Block] = node.Name
		}
	}
	for _, r := range registrations(node, local) {
		if _, whole := blocks[r.Prefix]; !whole {
			blocks[r.Prefix] = node.Name
		}
	}
	return blocks
}

// nextHops gives the addresses that lead to other nodes, as those have published them.
func (s *Space) nextHops() map[string]netip.Addr {
	hops := map[string]netip.Addr{}
	client := s.grid()
	if client == nil {
		return hops
	}
	for name, n := range client.Snapshot().Nodes {
		switch {
		case n.Record == nil:
		case ipam.IsNextHop(n.Record.NextHop): // a node may say anything
			hops[name] = n.Record.NextHop
		case ipam.IsNextHop(n.Record.Endpoint):
			hops[name] = n.Record.Endpoint
		}
	}
	return hops
}

// NextHop gives the address that an upstream sends to: node.yaml's endpoint, or else what
// the uplinks have.
func (s *Space) NextHop(local registry.Snapshot) (netip.Addr, error) {
	if endpoint := s.node().Endpoint; endpoint.Is6() {
		return endpoint, nil
	}
	list, err := underlay.Addresses(s.uplinks())
	if err != nil {
		return netip.Addr{}, err
	}
	space := s.Whole(local).Prefixes
	for _, a := range list {
		if !slices.ContainsFunc(space, func(p netip.Prefix) bool { return p.Contains(a) }) {
			return a, nil
		}
	}
	return netip.Addr{}, refused("this node's uplinks have no global IPv6 address that lasts; name the one that the upstream sends to: --via ADDRESS")
}
