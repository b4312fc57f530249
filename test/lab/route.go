package lab

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

var (
	anyIPv4 = netip.MustParsePrefix("0.0.0.0/0")
	anyIPv6 = netip.MustParsePrefix("::/0")
)

// route makes the router one, and points everybody at it.
func (l *Lab) route(machines map[string]*Machine) error {
	if err := l.Router.forward(); err != nil {
		return err
	}
	for role, via := range map[string][2]netip.Addr{
		"node":    {RouterIPv4, RouterIPv6},
		"lan":     {RouterIPv4, RouterIPv6},
		"outside": {farRouterIPv4, farRouterIPv6},
		"friend":  {farRouterIPv4, farRouterIPv6},
	} {
		m, here := machines[role]
		if !here {
			continue
		}
		if err := m.defaultRoutes(via[0], via[1]); err != nil {
			return err
		}
	}
	return l.Router.Route(Allocation, NodeIPv6)
}

// forward makes the machine a router.
func (m *Machine) forward() error {
	for _, name := range []string{"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"} {
		if err := m.Sysctl(name, "1"); err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
	}
	return nil
}

// defaultRoutes sends what the machine knows no other way for to a router.
func (m *Machine) defaultRoutes(v4, v6 netip.Addr) error {
	if err := m.Route(anyIPv4, v4); err != nil {
		return err
	}
	return m.Route(anyIPv6, v6)
}

// Route sends a prefix to a next hop that is on one of the machine's links.
func (m *Machine) Route(to netip.Prefix, via netip.Addr) error {
	h, err := m.Netlink()
	if err != nil {
		return err
	}
	defer h.Close()
	if err := h.RouteAdd(&netlink.Route{Dst: ipNet(to), Gw: via.AsSlice()}); err != nil {
		return fmt.Errorf("%s: route %s via %s: %w", m.Name, to, via, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func openNamespace(path string) (netns.NsHandle, error) {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return ns, fmt.Errorf("open network namespace %s: %w", path, err)
	}
	return ns, nil
}

// Neighbour is the MAC that the machine's kernel has found for an address on
// one of its links.
func (m *Machine) Neighbour(link string, a netip.Addr) (net.HardwareAddr, error) {
	h, err := m.Netlink()
	if err != nil {
		return nil, err
	}
	defer h.Close()
	l, err := h.LinkByName(link)
	if err != nil {
		return nil, fmt.Errorf("%s: find %s: %w", m.Name, link, err)
	}
	family := netlink.FAMILY_V6
	if a.Is4() {
		family = netlink.FAMILY_V4
	}
	neighbours, err := h.NeighList(l.Attrs().Index, family)
	if err != nil {
		return nil, fmt.Errorf("%s: list neighbours on %s: %w", m.Name, link, err)
	}
	for _, n := range neighbours {
		if n.IP.Equal(a.AsSlice()) && len(n.HardwareAddr) > 0 {
			return n.HardwareAddr, nil
		}
	}
	return nil, fmt.Errorf("%s: %s knows no MAC of %v", m.Name, link, a)
}
