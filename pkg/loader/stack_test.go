package loader

import (
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/zosnet/zosnet/pkg/maps"
)

// machine is eth0 and eth1 in bond0 with VLAN 7 on it, eth2 with VLAN 9, and a
// veth whose peer's index netlink gives as its parent.
func machine(withXDP ...string) []netlink.Link {
	device := func(name string, index, master int) netlink.Link {
		return &netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: name, Index: index, MasterIndex: master}}
	}
	vlan := func(name string, index, parent int) netlink.Link {
		return &netlink.Vlan{LinkAttrs: netlink.LinkAttrs{Name: name, Index: index, ParentIndex: parent}}
	}
	links := []netlink.Link{
		device("eth0", 2, 5), device("eth1", 3, 5), device("eth2", 4, 0),
		&netlink.Bond{LinkAttrs: netlink.LinkAttrs{Name: "bond0", Index: 5}},
		vlan("bond0.7", 6, 5), vlan("eth2.9", 7, 4),
		&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "veth0", Index: 8, ParentIndex: 4}},
	}
	for _, l := range links {
		for _, name := range withXDP {
			if l.Attrs().Name == name {
				l.Attrs().Xdp = &netlink.LinkXdp{Attached: true}
			}
		}
	}
	return links
}

func TestWhereXDPGoes(t *testing.T) {
	for _, c := range []struct {
		name    string
		withXDP []string
		ifindex int
		below   bool
		above   []string
	}{
		{"a plain interface", nil, 2, false, nil},
		{"a bond over nothing that has XDP", nil, 5, false, nil},
		{"a bond of which one has it", []string{"eth0"}, 5, true, nil},
		{"a bond of which both have it", []string{"eth0", "eth1"}, 5, true, nil},
		{"a VLAN on that bond", []string{"eth0", "eth1"}, 6, true, nil},
		{"a VLAN on a bond that has it", []string{"bond0"}, 6, true, nil},
		{"below a bond that has it", []string{"bond0"}, 2, false, []string{"bond0"}},
		{"below a VLAN two levels up that has it", []string{"bond0.7"}, 3, false, []string{"bond0.7"}},
		{"beside another that has it", []string{"eth0", "bond0"}, 4, false, nil},
		{"a veth whose peer has it", []string{"eth2"}, 8, false, nil},
	} {
		links := machine(c.withXDP...)
		var above []string
		for _, l := range withXDPAbove(links, c.ifindex) {
			above = append(above, l.Attrs().Name)
		}
		if below := hasXDPBelow(links, c.ifindex); below != c.below || !slices.Equal(above, c.above) {
			t.Errorf("%s: below %v, above %q; wanted %v, %q", c.name, below, above, c.below, c.above)
		}
	}
}

// A named bond or VLAN is locked with all that it lies on, which comes first.
func TestLowestFirst(t *testing.T) {
	for _, c := range []struct{ names, want string }{
		{"eth2", "eth2"},
		{"bond0", "eth0 eth1 bond0"},
		{"bond0.7", "eth0 eth1 bond0 bond0.7"},
		{"bond0 eth1", "eth0 eth1 bond0"},
		{"later0 eth2.9", "later0 eth2 eth2.9"},
	} {
		got := strings.Join(lowestFirst(machine(), strings.Fields(c.names)), " ")
		if got != c.want {
			t.Errorf("%s: %s, wanted %s", c.names, got, c.want)
		}
	}
}

// Only a VLAN that is an uplink itself is left to judge its frames.
func TestVLANFlag(t *testing.T) {
	for _, c := range []struct {
		name    string
		uplinks []uint32
		want    map[int]bool
	}{
		{"no VLAN is an uplink", []uint32{2, 3, 4, 5}, nil},
		{"the VLAN on eth2 is one", []uint32{4, 7}, map[int]bool{4: true}},
		{"the VLAN on the bond is one", []uint32{2, 3, 5, 6}, map[int]bool{5: true}},
	} {
		uplinks := map[uint32]maps.Uplink{}
		for _, ifindex := range c.uplinks {
			uplinks[ifindex] = maps.Uplink{}
		}
		for ifindex := 2; ifindex <= 8; ifindex++ {
			if got := vlanFlag(machine(), ifindex, uplinks) != 0; got != c.want[ifindex] {
				t.Errorf("%s: interface %d has the flag %v, wanted %v", c.name, ifindex, got, c.want[ifindex])
			}
		}
	}
}

func TestIsPhysical(t *testing.T) {
	for _, l := range machine() {
		want := l.Type() == "device"
		if got := isPhysical(l); got != want {
			t.Errorf("%s: physical %v, wanted %v", l.Attrs().Name, got, want)
		}
	}
	lo := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: "lo", Index: 1, EncapType: "loopback"}}
	if isPhysical(lo) {
		t.Error("loopback is physical")
	}
}
