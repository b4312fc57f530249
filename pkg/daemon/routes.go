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
	"github.com/zosnet/zosnet/pkg/spec"
)

// ListRoutes implements the API.
func (d *Daemon) ListRoutes(_ context.Context, r *api.ListRoutesRequest) (*api.ListRoutesResponse, error) {
	node := d.file.node()
	hop, err := d.nextHop(node, r.Via)
	if err != nil {
		return nil, err
	}
	blocks := map[netip.Prefix]string{}
	for _, p := range node.Prefixes {
		blocks[p] = node.Name
	}
	routes, err := ipam.Routes(blocks, map[string]netip.Addr{node.Name: hop})
	if err != nil {
		return nil, refused(err.Error())
	}
	response := &api.ListRoutesResponse{}
	for _, route := range routes {
		response.Routes = append(response.Routes, &api.Route{
			Prefix: route.Block.String(), Node: route.Node, NextHop: route.NextHop.String(),
		})
	}
	return response, nil
}

// nextHop gives the address that an upstream sends to: the one that was asked for,
// node.yaml's endpoint, or else what the uplinks have.
func (d *Daemon) nextHop(node *spec.Node, via string) (netip.Addr, error) {
	if via != "" {
		hop, err := netip.ParseAddr(via)
		if err != nil || !hop.Is6() || hop.Is4In6() || !hop.IsGlobalUnicast() || hop.Zone() != "" {
			return hop, invalid(fmt.Sprintf("via %s: want a global IPv6 address of this node", via))
		}
		return hop, nil
	}
	if node.Endpoint.Is6() {
		return node.Endpoint, nil
	}
	list, err := uplinkAddresses(d.uplinkNames())
	if err != nil {
		return netip.Addr{}, err
	}
	for _, a := range list {
		if !slices.ContainsFunc(node.Prefixes, func(p netip.Prefix) bool { return p.Contains(a) }) {
			return a, nil
		}
	}
	return netip.Addr{}, refused("this node's uplinks have no global IPv6 address that lasts; name the one that the upstream sends to: --via ADDRESS")
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
