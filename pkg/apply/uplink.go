package apply

import (
	"maps"
	"slices"

	"github.com/vishvananda/netlink"

	"github.com/zosnet/zosnet/pkg/loader"
)

// UplinkMTU gives the smallest MTU in bytes of the uplinks that are there, chosen from
// the names of a node.yaml as Apply does it; 0 where there is none.
func UplinkMTU(names []string) (uint16, error) {
	l, err := readLinks()
	if err != nil {
		return 0, err
	}
	chosen, _ := l.uplinks(names)
	return smallestMTU(chosen, l.byIndex), nil
}

// uplinks gives those of the links that are uplinks, and the names that none has.
func (l *links) uplinks(names []string) (chosen []loader.Uplink, missing []string) {
	return loader.ChooseUplinks(names, slices.Collect(maps.Values(l.byIndex)))
}

func smallestMTU(uplinks []loader.Uplink, links map[int]netlink.Link) (smallest uint16) {
	for _, u := range uplinks {
		mtu := uint16(min(links[u.Index].Attrs().MTU, 1<<16-1))
		if smallest == 0 || mtu < smallest {
			smallest = mtu
		}
	}
	return smallest
}

func uplinkObject(name string) string { return "uplink " + name }
