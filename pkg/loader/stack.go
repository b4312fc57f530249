package loader

import (
	"slices"

	"github.com/vishvananda/netlink"

	"github.com/zosnet/zosnet/pkg/maps"
)

// What lies above and below an interface: VLANs on it, the bond that it is in.

// above gives the interfaces directly above one.
func above(links []netlink.Link, ifindex int) []netlink.Link {
	var list []netlink.Link
	for _, l := range links {
		if l.Type() == "vlan" && l.Attrs().ParentIndex == ifindex {
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

// vlanFlag says whether a VLAN interface on this one is an uplink itself, and
// judges its own frames. Frames of other VLANs must not pass unjudged.
func vlanFlag(links []netlink.Link, ifindex int, uplinks map[uint32]maps.Uplink) uint32 {
	for _, l := range links {
		_, judges := uplinks[uint32(l.Attrs().Index)]
		if judges && l.Type() == "vlan" && l.Attrs().ParentIndex == ifindex {
			return maps.UplinkVLANs
		}
	}
	return 0
}

// hasXDPBelow says whether every way into an interface passes XDP below it.
func hasXDPBelow(links []netlink.Link, ifindex int) bool {
	lower := below(links, ifindex)
	return len(lower) > 0 && !slices.ContainsFunc(lower, func(l netlink.Link) bool {
		return !hasXDP(l) && !hasXDPBelow(links, l.Attrs().Index)
	})
}

// hasXDPAbove says whether an interface above has XDP, which the kernel then
// refuses below.
func hasXDPAbove(links []netlink.Link, ifindex int) bool {
	return slices.ContainsFunc(above(links, ifindex), func(l netlink.Link) bool {
		return hasXDP(l) || hasXDPAbove(links, l.Attrs().Index)
	})
}

func hasXDP(l netlink.Link) bool {
	return l.Attrs().Xdp != nil && l.Attrs().Xdp.Attached
}

func exists(links []netlink.Link, ifindex int) bool {
	return slices.ContainsFunc(links, func(l netlink.Link) bool { return l.Attrs().Index == ifindex })
}
