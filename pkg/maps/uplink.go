package maps

import "fmt"

// VLAN is the outermost tag of a frame.
type VLAN struct {
	Type uint16 // ether type of the tag: 0x8100 (IEEE 802.1Q) or 0x88a8
	ID   uint16
}

// UplinkVLANs are the VLANs on an uplink whose own interfaces judge their frames, by
// ifindex.
type UplinkVLANs map[VLAN]uint32

// AllUplinks gives every uplink by ifindex.
func (m *Maps) AllUplinks() (map[uint32]UplinkVLANs, error) {
	entries, err := readAll[UplinkKey, Uplink](m.Uplinks)
	all := map[uint32]UplinkVLANs{}
	for key := range entries {
		if all[key.Ifindex] == nil {
			all[key.Ifindex] = UplinkVLANs{}
		}
	}
	for key, u := range entries {
		if key.VlanType != 0 {
			all[key.Ifindex][VLAN{key.VlanType, key.Vlan}] = u.Ifindex
		}
	}
	return all, err
}

// PutUplink says that an interface leads to the world, and which VLANs on it judge
// their own frames.
func (m *Maps) PutUplink(ifindex uint32, vlans UplinkVLANs) error {
	want := []entry[UplinkKey, Uplink]{{Key: UplinkKey{Ifindex: ifindex}, Value: Uplink{Ifindex: ifindex}}}
	for vlan, judge := range vlans {
		want = append(want, entry[UplinkKey, Uplink]{
			Key: UplinkKey{Ifindex: ifindex, VlanType: vlan.Type, Vlan: vlan.ID}, Value: Uplink{Ifindex: judge},
		})
	}
	if err := putAll(m.Uplinks, want); err != nil {
		return fmt.Errorf("write uplink %d: %w", ifindex, err)
	}
	return deleteWhere(m.Uplinks, func(key UplinkKey, u Uplink) bool {
		judge, listed := vlans[VLAN{key.VlanType, key.Vlan}]
		return key.Ifindex == ifindex && key.VlanType != 0 && (!listed || judge != u.Ifindex)
	})
}

// DeleteUplink forgets an uplink, also as one that judges a VLAN's frames. One that
// is not there is no error.
func (m *Maps) DeleteUplink(ifindex uint32) error {
	return deleteWhere(m.Uplinks, func(key UplinkKey, u Uplink) bool {
		return key.Ifindex == ifindex || u.Ifindex == ifindex
	})
}
