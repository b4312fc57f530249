package daemon

import (
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/zosnet/zosnet/pkg/api"
)

// The programs of an uplink, and what their hooks are called in status.
var uplinkHooks = []struct{ program, hook string }{
	{"uplink_xdp", "xdp"},
	{"uplink_ingress", "ingress"},
	{"uplink_egress", "egress"},
}

// uplinks gives what is attached to each uplink, and those that are there but
// lack a program. XDP goes on the lowest device only, so that a bond or VLAN
// without it lacks nothing.
func (d *Daemon) uplinks() (list []*api.Uplink, unlocked []string, err error) {
	attachments, err := d.datapath.Attachments()
	if err != nil {
		return nil, nil, err
	}
	attached := map[string]map[string]string{} // interface → program → mode
	for _, a := range attachments {
		if !strings.HasPrefix(a.Program, "uplink_") {
			continue
		}
		if attached[a.Interface] == nil {
			attached[a.Interface] = map[string]string{}
		}
		attached[a.Interface][a.Program] = a.Mode
	}
	for _, name := range d.uplinkNames() {
		if attached[name] == nil {
			attached[name] = map[string]string{}
		}
	}
	names := make([]string, 0, len(attached))
	for name := range attached {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, h := range uplinkHooks {
			mode, ok := attached[name][h.program]
			if !ok && h.hook == "xdp" && !isLowest(name) {
				continue
			}
			if !ok {
				mode = "missing"
				if !slices.Contains(unlocked, name) {
					unlocked = append(unlocked, name)
				}
			}
			list = append(list, &api.Uplink{Name: name, Hook: h.hook, Mode: mode})
		}
	}
	return list, unlocked, nil
}

// uplinkNames gives the interfaces that the datapath takes for uplinks.
func (d *Daemon) uplinkNames() []string {
	known, err := d.datapath.Maps().AllUplinks()
	if err != nil {
		d.log.Error("read the uplinks", "error", err)
		return nil
	}
	var names []string
	for index := range known {
		if link, err := netlink.LinkByIndex(int(index)); err == nil {
			names = append(names, link.Attrs().Name)
		}
	}
	slices.Sort(names)
	return names
}

func isLowest(name string) bool {
	link, err := netlink.LinkByName(name)
	return err == nil && link.Type() != "vlan" && link.Type() != "bond"
}
