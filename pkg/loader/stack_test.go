package loader

import (
	"reflect"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/zosnet/zosnet/pkg/maps"
)

// machine is eth0 and eth1 in bond0 with VLAN 7 on it, eth2 with VLAN 9 of a
// provider's bridge, a VLAN on an interface of another network namespace that has
// eth2's index there, and a veth whose peer's index netlink gives as its parent.
func machine(withXDP ...string) []netlink.Link {
	device := func(name string, index, master int) netlink.Link {
		return &netlink.Device{LinkAttrs: netlink.LinkAttrs{Name: name, Index: index, MasterIndex: master}}
	}
	vlan := func(name string, index, parent, id int, kind netlink.VlanProtocol) *netlink.Vlan {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.Index, attrs.ParentIndex = name, index, parent
		return &netlink.Vlan{LinkAttrs: attrs, VlanId: id, VlanProtocol: kind}
	}
	far := vlan("far.5", 9, 4, 5, netlink.VLAN_PROTOCOL_8021Q)
	far.NetNsID = 0
	links := []netlink.Link{
		device("eth0", 2, 5), device("eth1", 3, 5), device("eth2", 4, 0),
		&netlink.Bond{LinkAttrs: netlink.LinkAttrs{Name: "bond0", Index: 5}},
		vlan("bond0.7", 6, 5, 7, netlink.VLAN_PROTOCOL_8021Q), vlan("eth2.9", 7, 4, 9, netlink.VLAN_PROTOCOL_8021AD), far,
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

// Only a VLAN that is an uplink itself is left to judge its frames.
func TestVLANsOn(t *testing.T) {
	for _, c := range []struct {
		name    string
		uplinks []uint32
		want    map[int]maps.UplinkVLANs
	}{
		{"no VLAN is an uplink", []uint32{2, 3, 4, 5}, nil},
		{"the VLAN on eth2 is one", []uint32{4, 7}, map[int]maps.UplinkVLANs{4: {{Type: 0x88a8, ID: 9}: 7}}},
		{"the VLAN on the bond is one", []uint32{2, 3, 5, 6}, map[int]maps.UplinkVLANs{5: {{Type: 0x8100, ID: 7}: 6}}},
		{"one that lies in another namespace", []uint32{4, 9}, nil},
	} {
		uplinks := map[uint32]maps.UplinkVLANs{}
		for _, ifindex := range c.uplinks {
			uplinks[ifindex] = nil
		}
		for ifindex := 2; ifindex <= 9; ifindex++ {
			if got := vlansOn(machine(), ifindex, uplinks); len(got) != len(c.want[ifindex]) || len(got) > 0 && !reflect.DeepEqual(got, c.want[ifindex]) {
				t.Errorf("%s: interface %d leaves %v to others, wanted %v", c.name, ifindex, got, c.want[ifindex])
			}
		}
	}
}
