package loader

import (
	"slices"

	"github.com/vishvananda/netlink"
)

// What lies above and below an interface: VLANs on it, the bond that it is in.

// liesOn tells a VLAN from what it is on, and a bond from what is in it. A VLAN on an
// interface of another network namespace has that one's index, which may be anybody's
// here.
func liesOn(upper, lower netlink.Link) bool {
	switch upper.Type() {
	case "vlan":
		return upper.Attrs().ParentIndex == lower.Attrs().Index && upper.Attrs().NetNsID < 0
	case "bond":
		return lower.Attrs().MasterIndex == upper.Attrs().Index
	}
	return false
}

// above gives the interfaces directly above one.
func above(links []netlink.Link, ifindex int) (list []netlink.Link) {
	at := slices.IndexFunc(links, hasIndex(ifindex))
	for _, upper := range links {
		if at >= 0 && liesOn(upper, links[at]) {
			list = append(list, upper)
		}
	}
	return list
}

// below gives the interfaces directly below one.
func below(links []netlink.Link, ifindex int) (list []netlink.Link) {
	at := slices.IndexFunc(links, hasIndex(ifindex))
	for _, lower := range links {
		if at >= 0 && liesOn(links[at], lower) {
			list = append(list, lower)
		}
	}
	return list
}

func hasIndex(ifindex int) func(netlink.Link) bool {
	return func(l netlink.Link) bool { return l.Attrs().Index == ifindex }
}

// hasXDPBelow says whether an interface below has XDP. The kernel then refuses it
// in the driver of a bond, and would refuse it to the bond's other ports if the bond
// had it in the stack.
func hasXDPBelow(links []netlink.Link, ifindex int) bool {
	return slices.ContainsFunc(below(links, ifindex), func(l netlink.Link) bool {
		return hasXDP(l) || hasXDPBelow(links, l.Attrs().Index)
	})
}

// withXDPAbove gives the interfaces above that have XDP, which the kernel then
// refuses below.
func withXDPAbove(links []netlink.Link, ifindex int) []netlink.Link {
	var list []netlink.Link
	for _, l := range above(links, ifindex) {
		if hasXDP(l) {
			list = append(list, l)
		}
		list = append(list, withXDPAbove(links, l.Attrs().Index)...)
	}
	return list
}

func hasXDP(l netlink.Link) bool {
	return l.Attrs().Xdp != nil && l.Attrs().Xdp.Attached
}

func exists(links []netlink.Link, ifindex int) bool {
	return slices.ContainsFunc(links, hasIndex(ifindex))
}
