package loader

import (
	"cmp"
	"maps"

	"github.com/vishvananda/netlink"

	bpf "github.com/zosnet/zosnet/pkg/maps"
)

// addUplink puts an interface among the uplinks, unless it is there.
func (d *Datapath) addUplink(ifindex uint32) error {
	uplinks, err := d.maps.AllUplinks()
	if err != nil {
		return err
	}
	if _, known := uplinks[ifindex]; known {
		return nil
	}
	return d.maps.PutUplink(ifindex, nil)
}

// refreshUplinks brings the uplinks' VLANs up to date, and forgets uplinks that have
// gone.
func (d *Datapath) refreshUplinks() error {
	links, err := listLinks()
	if err != nil {
		return err
	}
	uplinks, err := d.maps.AllUplinks()
	if err != nil {
		return err
	}
	for ifindex := range uplinks {
		if !exists(links, int(ifindex)) {
			if err := d.maps.DeleteUplink(ifindex); err != nil {
				return err
			}
			delete(uplinks, ifindex)
		}
	}
	for ifindex, have := range uplinks {
		want := vlansOn(links, int(ifindex), uplinks)
		if maps.Equal(have, want) {
			continue
		}
		if err := d.maps.PutUplink(ifindex, want); err != nil {
			return err
		}
	}
	return nil
}

// vlansOn gives the VLANs on an interface that are uplinks themselves, and judge
// their own frames. Frames of other VLANs must not pass unjudged.
func vlansOn(links []netlink.Link, ifindex int, uplinks map[uint32]bpf.UplinkVLANs) bpf.UplinkVLANs {
	vlans := bpf.UplinkVLANs{}
	for _, l := range above(links, ifindex) {
		vlan, ok := l.(*netlink.Vlan)
		index := uint32(l.Attrs().Index)
		if _, judges := uplinks[index]; ok && judges {
			protocol := cmp.Or(vlan.VlanProtocol, netlink.VLAN_PROTOCOL_8021Q)
			vlans[bpf.VLAN{Type: uint16(protocol), ID: uint16(vlan.VlanId)}] = index
		}
	}
	return vlans
}
