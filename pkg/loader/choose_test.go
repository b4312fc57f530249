package loader

import (
	"net"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
)

// card makes a link for ChooseUplinks.
func card(index int, name string, change func(*netlink.LinkAttrs)) netlink.LinkAttrs {
	a := netlink.NewLinkAttrs()
	a.Index, a.Name = index, name
	if change != nil {
		change(&a)
	}
	return a
}

func TestChooseUplinks(t *testing.T) {
	on := func(lower int) func(*netlink.LinkAttrs) {
		return func(a *netlink.LinkAttrs) { a.ParentIndex = lower }
	}
	in := func(master int) func(*netlink.LinkAttrs) {
		return func(a *netlink.LinkAttrs) { a.MasterIndex = master }
	}
	links := []netlink.Link{
		&netlink.Device{LinkAttrs: card(1, "lo", func(a *netlink.LinkAttrs) { a.Flags = net.FlagLoopback })},
		&netlink.Device{LinkAttrs: card(2, "eth0", nil)},
		&netlink.Vlan{LinkAttrs: card(3, "eth0.5", on(2))},
		&netlink.Vlan{LinkAttrs: card(4, "eth0.5.6", on(3))},
		&netlink.Bond{LinkAttrs: card(5, "bond0", nil)},
		&netlink.Device{LinkAttrs: card(6, "eth1", in(5))},
		&netlink.Device{LinkAttrs: card(7, "eth2", in(5))},
		&netlink.Vlan{LinkAttrs: card(8, "bond0.9", on(5))},
		&netlink.Veth{LinkAttrs: card(9, "veth0", nil)},
		&netlink.Bridge{LinkAttrs: card(10, "br0", nil)},
		&netlink.Vlan{LinkAttrs: card(11, "br0.3", on(10))},
		&netlink.GenericLink{LinkAttrs: card(12, "lan1", func(a *netlink.LinkAttrs) { a.ParentDev = "0000:00:1f.6" }), LinkType: "dsa"},
		&netlink.Vlan{LinkAttrs: card(13, "far.5", func(a *netlink.LinkAttrs) { a.ParentIndex, a.NetNsID = 2, 0 })},
	}
	for _, c := range []struct {
		name    string
		named   []string
		want    []Uplink
		missing []string
	}{
		{"every physical link, and the bonds and VLANs on them", nil, []Uplink{
			{"eth0", 2, true}, {"eth1", 6, true}, {"eth2", 7, true}, {"lan1", 12, true},
			{"eth0.5", 3, false}, {"bond0", 5, false}, {"eth0.5.6", 4, false}, {"bond0.9", 8, false},
		}, nil},
		{"one named", []string{"eth0"}, []Uplink{{"eth0", 2, true}}, nil},
		{"of any kind", []string{"br0", "veth0"}, []Uplink{{"veth0", 9, true}, {"br0", 10, true}}, nil},
		{"a VLAN with what is below it", []string{"bond0.9"}, []Uplink{
			{"eth1", 6, true}, {"eth2", 7, true}, {"bond0", 5, false}, {"bond0.9", 8, false}}, nil},
		{"one that is not there", []string{"eth0", "eth9"}, []Uplink{{"eth0", 2, true}}, []string{"eth9"}},
		{"a VLAN on another namespace's link", []string{"far.5"}, []Uplink{{"far.5", 13, true}}, nil},
	} {
		got, missing := ChooseUplinks(c.named, links)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if !slices.Equal(missing, c.missing) {
			t.Errorf("%s: missing %v", c.name, missing)
		}
	}
}
