package loader

import (
	"slices"

	"github.com/vishvananda/netlink"
)

// What lies above and below an interface: VLANs on it, the bond that it is in.

// above gives the interfaces directly above one. A VLAN on an interface of another
// network namespace has that one's index, which may be anybody's here.
func above(links []netlink.Link, ifindex int) []netlink.Link {
	var list []netlink.Link
	for _, l := range links {
		if l.Type() == "vlan" && l.Attrs().ParentIndex == ifindex && l.Attrs().NetNsID < 0 {
			list = append(list, l)
		}
		if l.Attrs().Index == ifindex && l.Attrs().MasterIndex != 0 {
			for _, master := range links {
				if master.Attrs().Index == l.Attrs().MasterIndex && master.Type() == "bond" {
					list = append(list, master)
				}
			}
		}
	}
	return list
}

// below gives the interfaces directly below one.
func below(links []netlink.Link, ifindex int) []netlink.Link {
	var list []netlink.Link
	for _, l := range links {
		for _, upper := range above(links, l.Attrs().Index) {
			if upper.Attrs().Index == ifindex {
				list = append(list, l)
			}
		}
	}
	return list
}

// lowestFirst gives named interfaces and those that they lie on, each after what is
// below it. A name that no interface has stays.
func lowestFirst(links []netlink.Link, names []string) []string {
	var list []string
	var add func(l netlink.Link)
	add = func(l netlink.Link) {
		for _, lower := range below(links, l.Attrs().Index) {
			add(lower)
		}
		if !slices.Contains(list, l.Attrs().Name) {
			list = append(list, l.Attrs().Name)
		}
	}
	for _, name := range names {
		at := slices.IndexFunc(links, func(l netlink.Link) bool { return l.Attrs().Name == name })
		if at >= 0 {
			add(links[at])
		} else if !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list
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
	return slices.ContainsFunc(links, func(l netlink.Link) bool { return l.Attrs().Index == ifindex })
}
