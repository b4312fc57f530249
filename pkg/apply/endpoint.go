package apply

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/plan"
)

const (
	endpointName = "eth0" // a workload's interface in its namespace
	loopbackName = "lo"
)

// endpointMetric is the default route's.
const endpointMetric = 1024

// endpointSysctls: addresses are the plan's and known to be nobody else's, so none
// is made up from an RA, and none waits for DAD (RFC 4862, 5.4).
var endpointSysctls = []sysctl{
	{"disable_ipv6", "0"},
	{"addr_gen_mode", "0"}, // eui64
	{"accept_ra", "0"},
	{"accept_dad", "0"},
}

// endpoint is eth0 in a workload's namespace, and what tells whose that is.
type endpoint struct {
	alias     string // of lo
	loopback  bool   // lo is up
	index     int    // 0: there is no eth0
	peer      int    // interface index of the other end
	mac       string
	mtu       int
	up        bool
	addresses []netip.Prefix // the plan's and others
	stale     []netip.Prefix // that an earlier plan gave
	gateway   bool           // the plan's default route
	sysctls   []difference
}

// observeEndpoint reads the namespace that h and the calling thread are in.
func observeEndpoint(h *netlink.Handle, w plan.Workload) (e endpoint, err error) {
	list, more, err := dumpLinks()
	if err != nil {
		return endpoint{}, err
	}
	for _, link := range list {
		switch a := link.Attrs(); a.Name {
		case loopbackName:
			e.alias, e.loopback = a.Alias, isUp(link)
		case endpointName:
			e.index, e.peer, e.mac, e.mtu, e.up = a.Index, a.ParentIndex, a.HardwareAddr.String(), a.MTU, isUp(link)
			if err := e.observeIPv6(h, link, more[a.Index], w); err != nil {
				return endpoint{}, err
			}
		}
	}
	return e, nil
}

func (e *endpoint) observeIPv6(h *netlink.Handle, link netlink.Link, read kept, w plan.Workload) (err error) {
	if err := e.observeAddresses(h, link, w); err != nil {
		return err
	}
	if e.gateway, err = hasGateway(h, link, w); err != nil {
		return err
	}
	e.sysctls, err = compareSysctls(endpointName, read, endpointSysctls)
	return err
}

// observeAddresses tells a stale address by how ours are made: a /64 without DAD.
func (e *endpoint) observeAddresses(h *netlink.Handle, link netlink.Link, w plan.Workload) error {
	list, err := dump(func() ([]netlink.Addr, error) { return h.AddrList(link, netlink.FAMILY_V6) })
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	planned := plannedAddresses(w)
	for _, a := range list {
		prefix := prefixOf(a.IPNet)
		e.addresses = append(e.addresses, prefix)
		if a.Flags&unix.IFA_F_NODAD != 0 && prefix.Bits() == 64 && !prefix.Addr().IsLinkLocalUnicast() &&
			!slices.Contains(planned, prefix) {
			e.stale = append(e.stale, prefix)
		}
	}
	return nil
}

func hasGateway(h *netlink.Handle, link netlink.Link, w plan.Workload) (bool, error) {
	if err := h.SetStrictCheck(true); err != nil {
		return false, fmt.Errorf("set netlink's strict check: %w", err)
	}
	defer func() { _ = h.SetStrictCheck(false) }()
	routes, err := dump(func() ([]netlink.Route, error) {
		ours := &netlink.Route{LinkIndex: link.Attrs().Index, Protocol: RouteProtocol, Table: unix.RT_TABLE_MAIN}
		return h.RouteListFiltered(netlink.FAMILY_V6, ours,
			netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE|netlink.RT_FILTER_OIF)
	})
	if err != nil {
		return false, fmt.Errorf("list routes: %w", err)
	}
	return slices.ContainsFunc(routes, func(r netlink.Route) bool {
		return prefixOf(r.Dst).Bits() == 0 && r.Gw.Equal(w.Gateway.AsSlice()) && r.Priority == endpointMetric
	}), nil
}

// plannedAddresses are the workload's own, each in its /64.
func plannedAddresses(w plan.Workload) []netip.Prefix {
	return []netip.Prefix{netip.PrefixFrom(w.Address, 64), netip.PrefixFrom(w.LinkLocal, 64)}
}

// compareEndpoint gives what is to be changed, in the order in which it has to be:
// no address without its sysctls, no route without an address and a link that is up.
func compareEndpoint(w plan.Workload, have endpoint) []difference {
	d := slices.Clone(have.sysctls)
	if w.Kind == plan.WorkloadNetns && !have.loopback {
		d = append(d, difference{loopbackName, "down", "up"})
	}
	if mac := macText(w.MAC); have.mac != mac {
		d = append(d, difference{"mac", have.mac, mac})
	}
	if have.mtu != int(w.MTU) {
		d = append(d, difference{"mtu", strconv.Itoa(have.mtu), strconv.Itoa(int(w.MTU))})
	}
	for _, a := range have.stale {
		d = append(d, difference{"address", a.String(), ""})
	}
	if !have.up {
		d = append(d, difference{"up", "", ""})
	}
	for _, a := range plannedAddresses(w) {
		// The kernel makes the link-local one itself as the link comes up.
		if !slices.Contains(have.addresses, a) && (have.up || !a.Addr().IsLinkLocalUnicast()) {
			d = append(d, difference{"address", "", a.String()})
		}
	}
	if !have.gateway {
		d = append(d, difference{"default route", "", "via " + w.Gateway.String()})
	}
	return d
}

// settleEndpoint makes the changes to eth0 in a namespace.
func settleEndpoint(namespace *os.File, w plan.Workload, differences []difference) error {
	return inside(namespace, func(h *netlink.Handle) error {
		link, err := h.LinkByName(endpointName)
		if err != nil {
			return fmt.Errorf("look up %s in %s: %w", endpointName, namespace.Name(), err)
		}
		for _, d := range differences {
			if err := setEndpoint(h, link, w, d); err != nil {
				return fmt.Errorf("set %s of %s in %s: %w", d, endpointName, namespace.Name(), err)
			}
		}
		return nil
	})
}

func setEndpoint(h *netlink.Handle, link netlink.Link, w plan.Workload, d difference) error {
	switch d.property {
	case "mac":
		mac, err := net.ParseMAC(d.want)
		if err != nil {
			return err
		}
		return h.LinkSetHardwareAddr(link, mac)
	case "mtu":
		return h.LinkSetMTU(link, int(w.MTU))
	case "up":
		return h.LinkSetUp(link)
	case loopbackName:
		return h.LinkSetUp(&netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Name: loopbackName}})
	case "address":
		if d.want == "" {
			return removeAddress(h, link, netip.MustParsePrefix(d.have))
		}
		return addAddress(h, link, netip.MustParsePrefix(d.want))
	case "default route":
		return h.RouteReplace(gatewayRoute(link, w))
	default:
		return writeSysctl(interfaceSysctl(endpointName, d.property), d.want)
	}
}

// gatewayRoute is the default route, which nobody else's has the protocol of.
func gatewayRoute(link netlink.Link, w plan.Workload) *netlink.Route {
	return &netlink.Route{
		Gw: w.Gateway.AsSlice(), LinkIndex: link.Attrs().Index, Priority: endpointMetric,
		Protocol: RouteProtocol, Table: unix.RT_TABLE_MAIN,
	}
}
