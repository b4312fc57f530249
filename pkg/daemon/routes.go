package daemon

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/spec"
)

// ListRoutes implements the API. What this node holds is routed to it, but for the
// blocks that other nodes have; and so are the blocks that it has of others.
func (d *Daemon) ListRoutes(ctx context.Context, r *api.ListRoutesRequest) (*api.ListRoutesResponse, error) {
	node := d.file.node()
	local, err := d.store.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	hop, err := d.nextHop(local, r.Via)
	if err != nil {
		return nil, err
	}
	hops := d.nextHops()
	hops[node.Name] = hop
	response := &api.ListRoutesResponse{}
	blocks := routed(node, local, d.given())
	for _, p := range sortedBlocks(blocks) {
		if _, known := hops[blocks[p]]; !known {
			response.Unrouted = append(response.Unrouted, fmt.Sprintf("%s is node %s's, of which no IPv6 address is known: it stays with what is around it", p, blocks[p]))
			delete(blocks, p)
		}
	}
	routes, err := ipam.Routes(blocks, hops)
	if err != nil {
		return nil, refused(err.Error())
	}
	for _, route := range routes {
		response.Routes = append(response.Routes, &api.Route{
			Prefix: route.Block.String(), Node: route.Node, NextHop: route.NextHop.String(),
		})
	}
	return response, nil
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
func (d *Daemon) nextHops() map[string]netip.Addr {
	hops := map[string]netip.Addr{}
	if !d.inGrid() || d.control.Registry() == nil {
		return hops
	}
	for name, n := range d.control.Registry().Snapshot().Nodes {
		switch {
		case n.Record == nil:
		case n.Record.NextHop.IsValid():
			hops[name] = n.Record.NextHop
		case n.Record.Endpoint.Is6():
			hops[name] = n.Record.Endpoint
		}
	}
	return hops
}

// nextHop gives the address that an upstream sends to: the one that was asked for,
// node.yaml's endpoint, or else what the uplinks have.
func (d *Daemon) nextHop(local registry.Snapshot, via string) (netip.Addr, error) {
	if via != "" {
		hop, err := netip.ParseAddr(via)
		if err != nil || !hop.Is6() || hop.Is4In6() || !hop.IsGlobalUnicast() || hop.Zone() != "" {
			return hop, invalid(fmt.Sprintf("via %s: want a global IPv6 address of this node", via))
		}
		return hop, nil
	}
	if endpoint := d.file.node().Endpoint; endpoint.Is6() {
		return endpoint, nil
	}
	list, err := uplinkAddresses(d.uplinkNames())
	if err != nil {
		return netip.Addr{}, err
	}
	space := d.spacious(local).Prefixes
	for _, a := range list {
		if !slices.ContainsFunc(space, func(p netip.Prefix) bool { return p.Contains(a) }) {
			return a, nil
		}
	}
	return netip.Addr{}, refused("this node's uplinks have no global IPv6 address that lasts; name the one that the upstream sends to: --via ADDRESS")
}

// publishNextHop says in this node's record where an upstream sends what is for its
// blocks. It may have no such place.
func (d *Daemon) publishNextHop(ctx context.Context, p publisher) error {
	self := p.snap.Nodes[p.node.Name]
	if self == nil || self.Record == nil {
		return nil
	}
	hop, err := d.nextHop(p.local, "")
	if err != nil {
		hop = netip.Addr{}
	}
	if self.Record.NextHop == hop {
		return nil
	}
	record := *self.Record
	record.NextHop = hop
	return p.client.PutRecord(ctx, record)
}

// uplinkAddresses gives the global IPv6 addresses of interfaces that are there to
// stay, those that somebody configured first, then by interface and address.
func uplinkAddresses(names []string) ([]netip.Addr, error) {
	const passing = unix.IFA_F_TEMPORARY | unix.IFA_F_DEPRECATED | unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED
	type found struct {
		netip.Addr
		lasts bool
		link  int
	}
	var list []found
	for i, name := range names {
		link, err := netlink.LinkByName(name)
		if err != nil {
			continue // it has just vanished
		}
		addresses, err := netlink.AddrList(link, netlink.FAMILY_V6)
		if err != nil {
			return nil, fmt.Errorf("read the addresses of %s: %w", name, err)
		}
		for _, a := range addresses {
			ip, ok := netip.AddrFromSlice(a.IP)
			if ok && ip.IsGlobalUnicast() && a.Flags&passing == 0 {
				list = append(list, found{ip, a.Flags&unix.IFA_F_PERMANENT != 0, i})
			}
		}
	}
	slices.SortFunc(list, func(a, b found) int {
		if a.lasts != b.lasts {
			if a.lasts {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.link, b.link), a.Compare(b.Addr))
	})
	out := make([]netip.Addr, len(list))
	for i, f := range list {
		out[i] = f.Addr
	}
	return out, nil
}
