package loader

import (
	"cmp"
	"net"
	"slices"

	"github.com/vishvananda/netlink"
)

// Uplink is an interface that leads to the world.
type Uplink struct {
	Name   string
	Index  int
	Lowest bool // no other is below it, so XDP goes here
}

// ChooseUplinks gives the uplinks among links, lower ones before those on them, and
// the named ones that are not there. Without names it is every physical link, and
// the bonds and VLANs on them. What a named bond or VLAN lies on is an uplink as
// well: packets come through it.
func ChooseUplinks(names []string, links []netlink.Link) (chosen []Uplink, missing []string) {
	levels := map[int]int{} // by ifindex; 1: the lowest
	for _, name := range names {
		at := slices.IndexFunc(links, func(l netlink.Link) bool { return l.Attrs().Name == name })
		if at >= 0 {
			descend(links[at].Attrs().Index, links, levels)
		} else {
			missing = append(missing, name)
		}
	}
	if len(names) == 0 {
		for _, l := range links {
			if isPhysical(l) {
				climb(l.Attrs().Index, 1, links, levels)
			}
		}
	}
	for _, l := range links {
		if level := levels[l.Attrs().Index]; level > 0 {
			chosen = append(chosen, Uplink{Name: l.Attrs().Name, Index: l.Attrs().Index, Lowest: level == 1})
		}
	}
	slices.SortFunc(chosen, func(a, b Uplink) int {
		return cmp.Or(cmp.Compare(levels[a.Index], levels[b.Index]), cmp.Compare(a.Index, b.Index))
	})
	return chosen, missing
}

// descend chooses a link and all below it, and gives its level.
func descend(ifindex int, links []netlink.Link, levels map[int]int) int {
	level := 1
	for _, lower := range below(links, ifindex) {
		level = max(level, descend(lower.Attrs().Index, links, levels)+1)
	}
	levels[ifindex] = max(levels[ifindex], level)
	return level
}

// climb chooses a link and the bonds and VLANs on it.
func climb(ifindex, level int, links []netlink.Link, levels map[int]int) {
	if levels[ifindex] >= level {
		return
	}
	levels[ifindex] = level
	for _, upper := range above(links, ifindex) {
		climb(upper.Attrs().Index, level+1, links, levels)
	}
}

// isPhysical tells a link with a device behind it: on a bus (IFLA_PARENT_DEV_NAME,
// Linux 5.14), or of no software kind. sysfs would know too, but shows the namespace
// that mounted it.
func isPhysical(l netlink.Link) bool {
	a := l.Attrs()
	return a.Flags&net.FlagLoopback == 0 && (l.Type() == "device" || a.ParentDev != "")
}
