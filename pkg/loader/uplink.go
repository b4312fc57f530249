package loader

import (
	"fmt"

	"github.com/vishvananda/netlink"

	"github.com/zosnet/zosnet/pkg/maps"
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
	return d.maps.PutUplink(ifindex, maps.Uplink{})
}

// refreshUplinks brings the flags of all uplinks up to date, and forgets those
// that have gone.
func (d *Datapath) refreshUplinks() error {
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	uplinks, err := d.maps.AllUplinks()
	if err != nil {
		return err
	}
	for ifindex, u := range uplinks {
		flags := vlanFlag(links, int(ifindex), uplinks)
		switch {
		case !exists(links, int(ifindex)):
			err = d.maps.DeleteUplink(ifindex)
		case u.Flags != flags:
			err = d.maps.PutUplink(ifindex, maps.Uplink{Flags: flags})
		}
		if err != nil {
			return err
		}
	}
	return nil
}
