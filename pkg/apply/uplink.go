package apply

import (
	"cmp"
	"net"
	"slices"

	"github.com/vishvananda/netlink"
)

// uplink is an interface that leads to the world.
type uplink struct {
	name   string
	index  int
	lowest bool // no other is below it, so XDP goes here
}

// chooseUplinks gives the uplinks among links, lower ones before those on them, and
// the named ones that are not there. Without names it is every physical link, and
// the bonds and VLANs on them. What a named bond or VLAN lies on is an uplink as
// well: packets come through it.
func chooseUplinks(names []string, links map[int]netlink.Link) (chosen []uplink, missing []string) {
	depth := map[int]int{}
	byName := map[string]netlink.Link{}
	for index, link := range links {
		byName[link.Attrs().Name] = link
		if len(names) == 0 && isPhysical(link) {
			depth[index] = 1
		}
	}
	for _, name := range names {
		if link, exists := byName[name]; exists {
			descend(link, links, depth)
		} else {
			missing = append(missing, name)
		}
	}
	if len(names) == 0 {
		climb(links, depth)
	}
	for index, level := range depth {
		chosen = append(chosen, uplink{name: links[index].Attrs().Name, index: index, lowest: level == 1})
	}
	slices.SortFunc(chosen, func(a, b uplink) int {
		return cmp.Or(cmp.Compare(depth[a.index], depth[b.index]), cmp.Compare(a.index, b.index))
	})
	return chosen, missing
}

// isPhysical tells a link with a device behind it: on a bus (IFLA_PARENT_DEV_NAME),
// or of no software kind. sysfs would know too, but shows the namespace that
// mounted it.
func isPhysical(link netlink.Link) bool {
	a := link.Attrs()
	return a.Flags&net.FlagLoopback == 0 && (link.Type() == "device" || a.ParentDev != "")
}

// lowers gives what a bond or VLAN lies on.
func lowers(link netlink.Link, links map[int]netlink.Link) []netlink.Link {
	var below []netlink.Link
	switch link.Type() {
	case "vlan":
		if lower, exists := links[link.Attrs().ParentIndex]; exists && link.Attrs().NetNsID < 0 {
			below = append(below, lower)
		}
	case "bond":
		for _, lower := range links {
			if lower.Attrs().MasterIndex == link.Attrs().Index {
				below = append(below, lower)
			}
		}
	}
	return below
}

// descend chooses a link and all below it, and gives its level.
func descend(link netlink.Link, links map[int]netlink.Link, depth map[int]int) int {
	level := 1
	for _, lower := range lowers(link, links) {
		level = max(level, descend(lower, links, depth)+1)
	}
	depth[link.Attrs().Index] = max(depth[link.Attrs().Index], level)
	return level
}

// climb chooses the bonds and VLANs on what is chosen, until there are no more.
func climb(links map[int]netlink.Link, depth map[int]int) {
	for grown := true; grown; {
		grown = false
		for index, link := range links {
			for _, lower := range lowers(link, links) {
				below := depth[lower.Attrs().Index]
				if below > 0 && depth[index] < below+1 {
					depth[index], grown = below+1, true
				}
			}
		}
	}
}

// UplinkMTU gives the smallest MTU in bytes of the uplinks that are there, chosen from
// the names of a node.yaml as Apply does it; 0 where there is none.
func UplinkMTU(names []string) (uint16, error) {
	l, err := readLinks()
	if err != nil {
		return 0, err
	}
	chosen, _ := chooseUplinks(names, l.byIndex)
	return smallestMTU(chosen, l.byIndex), nil
}

func smallestMTU(uplinks []uplink, links map[int]netlink.Link) (smallest uint16) {
	for _, u := range uplinks {
		mtu := uint16(min(links[u.index].Attrs().MTU, 1<<16-1))
		if smallest == 0 || mtu < smallest {
			smallest = mtu
		}
	}
	return smallest
}

func uplinkObject(name string) string { return "uplink " + name }
