package apply

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/plan"
)

// RouteProtocol is the routing protocol number of every route that zosnet makes
// (rtnetlink(7), rtm_protocol), and how it knows them again. `ip -6 route show
// proto 122` lists them.
const RouteProtocol = 122

// unreachableMetric puts a tenant prefix's unreachable route behind any route that
// somebody else has for the same prefix. More specific ones win whatever it is.
const unreachableMetric = 4096

// connectedMetric is what the kernel gives to the routes of addresses
// (IP6_RT_PRIO_ADDRCONF).
const connectedMetric = 256

// route is one IPv6 route of the main table.
type route struct {
	prefix   netip.Prefix
	kind     int // unix.RTN_*
	metric   int
	link     int // interface index; an unreachable route's is not looked at
	protocol int
}

// unreachable gives the routes that tenant space has where nobody is.
func unreachable(prefixes []plan.Prefix) []route {
	var routes []route
	for _, p := range prefixes {
		if !p.Node {
			routes = append(routes, route{prefix: p.Prefix, kind: unix.RTN_UNREACHABLE,
				metric: unreachableMetric, protocol: RouteProtocol})
		}
	}
	return routes
}

// connected gives the routes that the kernel makes with the bridges' addresses.
func (p *pass) connected() []route {
	var routes []route
	for _, n := range p.want.Networks {
		if link, ok := p.links.byName[n.Bridge]; ok && isUp(link) {
			routes = append(routes, route{prefix: n.Prefix, kind: unix.RTN_UNICAST, metric: connectedMetric,
				link: link.Attrs().Index, protocol: unix.RTPROT_KERNEL})
		}
	}
	return routes
}

// compareRoutes gives the routes to add and to remove, each in its list's order.
func compareRoutes(want, have []route) (add, remove []route) {
	wanted, held := map[route]bool{}, map[route]bool{}
	for _, r := range want {
		wanted[r] = true
	}
	for _, r := range have {
		held[r] = true
		if !wanted[r] {
			remove = append(remove, r)
		}
	}
	for _, r := range want {
		if !held[r] {
			add = append(add, r)
		}
	}
	return add, remove
}

// addUnreachable makes the tenant space's routes; removeUnreachable takes away
// those of a space that is no longer this node's.
func (p *pass) addUnreachable() {
	add, _ := p.compareUnreachable()
	for _, r := range add {
		p.change(r.object(), plan.Add, "unreachable", func() error { return p.addRoute(r) })
	}
}

func (p *pass) removeUnreachable() {
	_, remove := p.compareUnreachable()
	for _, r := range remove {
		p.change(r.object(), plan.Remove, "unreachable", func() error { return p.removeRoute(r) })
	}
}

func (p *pass) compareUnreachable() (add, remove []route) {
	have, err := readRoutes(p.strict, RouteProtocol)
	if err != nil {
		p.fail("routes", err)
		return nil, nil
	}
	have = slices.DeleteFunc(have, func(r route) bool { return r.kind != unix.RTN_UNREACHABLE })
	for i := range have {
		have[i].link = 0
	}
	return compareRoutes(unreachable(p.want.Prefixes), have)
}

// restoreConnected puts back the /64s' routes. Their other routes are the kernel's
// own affair.
func (p *pass) restoreConnected() {
	want := p.connected()
	if len(want) == 0 {
		return
	}
	have, err := readRoutes(p.strict, unix.RTPROT_KERNEL)
	if err != nil {
		p.fail("routes", err)
		return
	}
	add, _ := compareRoutes(want, have)
	for _, r := range add {
		p.change(r.object(), plan.Add, "to its bridge", func() error { return p.addRoute(r) })
	}
}

func (r route) object() string { return "route " + r.prefix.String() }

func (r route) message() *netlink.Route {
	return &netlink.Route{
		Dst: ipNet(r.prefix), Type: r.kind, Priority: r.metric, LinkIndex: r.link,
		Protocol: netlink.RouteProtocol(r.protocol), Table: unix.RT_TABLE_MAIN,
	}
}

func (p *pass) addRoute(r route) error {
	if err := p.netlink.RouteReplace(r.message()); err != nil {
		return fmt.Errorf("add route %s: %w", r.prefix, err)
	}
	return nil
}

func (p *pass) removeRoute(r route) error {
	if err := p.netlink.RouteDel(r.message()); err != nil && !gone(err) {
		return fmt.Errorf("remove route %s: %w", r.prefix, err)
	}
	return nil
}

// readRoutes gives the IPv6 routes of one protocol in the main table. The handle's
// strict check makes the kernel choose them, so that a full Internet table of
// somebody else's costs no copying.
func readRoutes(strict *netlink.Handle, protocol int) ([]route, error) {
	filter := &netlink.Route{Protocol: netlink.RouteProtocol(protocol), Table: unix.RT_TABLE_MAIN}
	mask := netlink.RT_FILTER_PROTOCOL | netlink.RT_FILTER_TABLE
	list, err := dump(func() ([]netlink.Route, error) {
		return strict.RouteListFiltered(netlink.FAMILY_V6, filter, mask)
	})
	if err != nil {
		return nil, fmt.Errorf("list IPv6 routes of protocol %d: %w", protocol, err)
	}
	routes := make([]route, len(list))
	for i, r := range list {
		routes[i] = route{prefixOf(r.Dst), r.Type, r.Priority, r.LinkIndex, int(r.Protocol)}
	}
	return routes, nil
}
