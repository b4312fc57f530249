package apply

import (
	"fmt"
	"strconv"

	"github.com/vishvananda/netlink"

	"github.com/zosnet/zosnet/pkg/plan"
)

// portSysctls keep the host's own IPv6 off a workload's host-side interface: it is
// a port of the bridge and nothing else.
var portSysctls = []sysctl{{"disable_ipv6", "1"}}

// port is what the plan decides about a workload's host-side interface.
type port struct {
	alias  string
	mtu    int
	master int // interface index of the bridge
}

func plannedPort(w plan.Workload, bridge int) port {
	return port{alias: workloadAlias(w.Network, w.Name), mtu: int(w.MTU), master: bridge}
}

func observedPort(link netlink.Link) port {
	a := link.Attrs()
	return port{alias: a.Alias, mtu: a.MTU, master: a.MasterIndex}
}

// comparePort gives what is to be changed, the bridge last.
func comparePort(want, have port) []difference {
	var d []difference
	if have.alias != want.alias {
		d = append(d, difference{"alias", have.alias, want.alias})
	}
	if have.mtu != want.mtu {
		d = append(d, difference{"mtu", strconv.Itoa(have.mtu), strconv.Itoa(want.mtu)})
	}
	if have.master != want.master {
		d = append(d, difference{"bridge", strconv.Itoa(have.master), strconv.Itoa(want.master)})
	}
	return d
}

// setPort changes one property.
func (p *pass) setPort(link netlink.Link, d difference) error {
	switch d.property {
	case "alias":
		return p.netlink.LinkSetAlias(link, d.want)
	case "mtu":
		mtu, err := strconv.Atoi(d.want)
		if err != nil {
			return err
		}
		return p.netlink.LinkSetMTU(link, mtu)
	case "bridge":
		index, err := strconv.Atoi(d.want)
		if err != nil {
			return err
		}
		if err := p.netlink.LinkSetMasterByIndex(link, index); err != nil {
			return fmt.Errorf("make %s a port of its bridge: %w", link.Attrs().Name, err)
		}
		return nil
	default:
		return writeSysctl(interfaceSysctl(link.Attrs().Name, d.property), d.want)
	}
}
