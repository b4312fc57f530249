package lab

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// roles are the namespaces of this lab, the machines and, where a segment has
// more than two ends, the switches.
func (l *Lab) roles() []string {
	roles := []string{"outside", "router", "node"}
	if l.config.Friend {
		roles = append(roles, "friend", "exchange")
	}
	if l.config.LAN {
		roles = append(roles, "lan", "segment")
	}
	return roles
}

// port is one end of a segment: an interface of a machine and its addresses.
type port struct {
	machine   *Machine
	link      string
	addresses []netip.Prefix
}

// wire makes the namespaces and everything in them.
func (l *Lab) wire(ctx context.Context) error {
	machines := map[string]*Machine{}
	for _, role := range l.roles() {
		m, err := l.boot(role)
		if err != nil {
			return err
		}
		machines[role] = m
	}
	l.Outside, l.Router, l.Node = machines["outside"], machines["router"], machines["node"]
	l.Friend, l.LAN = machines["friend"], machines["lan"]
	l.Node.env = socketOf(l.dir)
	if err := l.remember(func(m *manifest) { m.Nodes = []placed{{Machine: "node", Dir: l.dir}} }); err != nil {
		return err
	}

	near := l.near()
	if l.config.LAN {
		near = append(near, port{l.LAN, "eth0", prefixes(LANIPv4, LANIPv6)})
	}
	far := []port{
		{l.Router, "far", prefixes(farRouterIPv4, farRouterIPv6)},
		{l.Outside, "eth0", prefixes(OutsideIPv4, OutsideIPv6)},
	}
	if l.config.Friend {
		far = append(far, port{l.Friend, "eth0", prefixes(FriendIPv4, FriendIPv6)})
	}
	if err := connect(machines["segment"], near); err != nil {
		return err
	}
	if err := connect(machines["exchange"], far); err != nil {
		return err
	}
	if err := l.route(machines); err != nil {
		return err
	}
	return settle(ctx, machines)
}

// near are the ends of the node's own segment that every lab has.
func (l *Lab) near() []port {
	return []port{
		{l.Router, "near", prefixes(RouterIPv4, RouterIPv6)},
		{l.Node, "eth0", prefixes(NodeIPv4, NodeIPv6)},
	}
}

// prefixes gives an IPv4 and an IPv6 address their on-link lengths.
func prefixes(v4, v6 netip.Addr) []netip.Prefix {
	return []netip.Prefix{netip.PrefixFrom(v4, 24), netip.PrefixFrom(v6, 64)}
}

// prepare brings lo up and undoes what a distribution's defaults may have put
// into a new namespace.
func (m *Machine) prepare() error {
	for name, value := range map[string]string{
		"net/ipv4/conf/all/rp_filter":        "0",
		"net/ipv4/conf/default/rp_filter":    "0",
		"net/ipv6/conf/all/disable_ipv6":     "0",
		"net/ipv6/conf/default/disable_ipv6": "0",
	} {
		if err := m.Sysctl(name, value); err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
	}
	h, err := m.Netlink()
	if err != nil {
		return err
	}
	defer h.Close()
	return m.up(h, "lo")
}

func (m *Machine) up(h *netlink.Handle, name string) error {
	link, err := h.LinkByName(name)
	if err != nil {
		return fmt.Errorf("%s: find %s: %w", m.Name, name, err)
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("%s: set %s up: %w", m.Name, name, err)
	}
	return nil
}

// connect joins the ports: two by a veth pair, or any number through a bridge
// on the machine sw.
func connect(sw *Machine, ports []port) error {
	if sw == nil {
		if err := cable(ports[0].machine, ports[0].link, ports[1].machine, ports[1].link); err != nil {
			return err
		}
	} else if err := bridge(sw, ports); err != nil {
		return err
	}
	for _, p := range ports {
		if err := p.start(); err != nil {
			return err
		}
	}
	return nil
}

// cable makes a veth pair with one end on each machine.
func cable(a *Machine, aLink string, b *Machine, bLink string) error {
	h, err := a.Netlink()
	if err != nil {
		return err
	}
	defer h.Close()
	peer, err := openNamespace(b.path)
	if err != nil {
		return err
	}
	defer func() { _ = peer.Close() }()
	veth := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: aLink},
		PeerName:      bLink,
		PeerNamespace: netlink.NsFd(int(peer)),
	}
	if err := h.LinkAdd(veth); err != nil {
		return fmt.Errorf("veth from %s (%s) to %s (%s): %w", a.Name, aLink, b.Name, bLink, err)
	}
	return nil
}

func bridge(sw *Machine, ports []port) error {
	h, err := sw.Netlink()
	if err != nil {
		return err
	}
	defer h.Close()
	// A switch that snoops MLD would forward neighbour solicitations only to
	// those it has heard a report from, and a crafted frame makes no report.
	snooping := false
	br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}, MulticastSnooping: &snooping}
	if err := h.LinkAdd(br); err != nil {
		return fmt.Errorf("bridge on %s: %w", sw.Name, err)
	}
	if err := sw.Sysctl("net/ipv6/conf/all/disable_ipv6", "1"); err != nil {
		return err
	}
	for i, p := range ports {
		name := fmt.Sprintf("port%d", i)
		if err := cable(sw, name, p.machine, p.link); err != nil {
			return err
		}
		link, err := h.LinkByName(name)
		if err != nil {
			return err
		}
		if err := h.LinkSetMaster(link, br); err != nil {
			return fmt.Errorf("put %s on %s's bridge: %w", name, sw.Name, err)
		}
		if err := sw.up(h, name); err != nil {
			return err
		}
	}
	return sw.up(h, "br0")
}

// start gives the port its addresses and sets it up. Duplicate address
// detection is off: there is one of each here, and its second is a second.
func (p port) start() error {
	if err := p.machine.Sysctl("net/ipv6/conf/"+p.link+"/accept_dad", "0"); err != nil {
		return err
	}
	h, err := p.machine.Netlink()
	if err != nil {
		return err
	}
	defer h.Close()
	link, err := h.LinkByName(p.link)
	if err != nil {
		return fmt.Errorf("%s: find %s: %w", p.machine.Name, p.link, err)
	}
	for _, prefix := range p.addresses {
		addr := &netlink.Addr{IPNet: ipNet(prefix)}
		if prefix.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := h.AddrAdd(link, addr); err != nil {
			return fmt.Errorf("%s: add %s to %s: %w", p.machine.Name, prefix, p.link, err)
		}
	}
	return p.machine.up(h, p.link)
}

// Replug gives the node another cable, after its uplink was deleted: a new
// eth0 with the old addresses and routes. It needs a lab without a LAN host.
func (l *Lab) Replug(ctx context.Context) error {
	if l.config.LAN {
		return fmt.Errorf("lab %s: the node's segment is a bridge; replug has no cable to make", l.config.Name)
	}
	if err := connect(nil, l.near()); err != nil {
		return err
	}
	if err := l.Node.Route(anyIPv4, RouterIPv4); err != nil {
		return err
	}
	if err := l.Node.Route(anyIPv6, RouterIPv6); err != nil {
		return err
	}
	if err := l.Router.Route(Allocation, NodeIPv6); err != nil {
		return err
	}
	return settle(ctx, map[string]*Machine{"node": l.Node, "router": l.Router})
}
