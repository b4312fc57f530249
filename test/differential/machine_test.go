package differential

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/policy"
	"github.com/zosnet/zosnet/pkg/policy/policytest"
)

// machine is a network namespace with the interfaces and routes of a node, whose
// packets go nowhere: programs are only asked what they would do.
type machine struct {
	ports   []uint32
	bridges []uint32
	uplink  uint32
	shape   policytest.Shape
}

const (
	portCount   = 6
	bridgeCount = 3
)

// newMachine puts the calling goroutine's thread into a namespace of its own. The
// thread must stay locked and end with the goroutine: the namespace goes with it.
func newMachine() (*machine, error) {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("make a network namespace: %w", err)
	}
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("1"), 0); err != nil {
		return nil, fmt.Errorf("switch forwarding on: %w", err)
	}
	m := &machine{}
	for i := range portCount {
		index, err := addVeth(fmt.Sprintf("port%d", i))
		if err != nil {
			return nil, err
		}
		m.ports = append(m.ports, index)
	}
	for i := range bridgeCount {
		bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: fmt.Sprintf("bridge%d", i)}}
		if err := addUp(bridge); err != nil {
			return nil, err
		}
		m.bridges = append(m.bridges, uint32(bridge.Index))
	}
	index, err := addVeth("uplink")
	if err != nil {
		return nil, err
	}
	m.uplink = index
	routes, err := m.addRoutes()
	if err != nil {
		return nil, err
	}
	m.shape = policytest.Shape{Ports: m.ports, Routes: routes}
	for i, mtu := range overlayMTUs {
		overlay, route, err := addOverlay(i, mtu)
		if err != nil {
			return nil, err
		}
		m.shape.Overlays = append(m.shape.Overlays, overlay)
		m.shape.Routes = append(m.shape.Routes, route)
	}
	return m, nil
}

// overlayMTUs are those of the interfaces that stand for WireGuard's.
var overlayMTUs = []int{1420, 1280}

// addOverlay makes an interface without a link header, and the route over it.
func addOverlay(number, mtu int) (o policy.Overlay, r policy.Route, err error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = fmt.Sprintf("overlay%d", number)
	tun := &netlink.Tuntap{LinkAttrs: attrs, Mode: netlink.TUNTAP_MODE_TUN, Flags: netlink.TUNTAP_NO_PI}
	if err := addUp(tun); err != nil {
		return o, r, err
	}
	made, err := netlink.LinkByName(attrs.Name)
	if err != nil {
		return o, r, fmt.Errorf("find %s: %w", attrs.Name, err)
	}
	if err := netlink.LinkSetMTU(made, mtu); err != nil {
		return o, r, fmt.Errorf("set the MTU of %s: %w", attrs.Name, err)
	}
	index := made.Attrs().Index
	beyond := policytest.Beyond.Addr().As16()
	beyond[7] = byte(number + 1)
	prefix := netip.PrefixFrom(netip.AddrFrom16(beyond), 64)
	if err := netlink.RouteAdd(&netlink.Route{Dst: ipNet(prefix), LinkIndex: index}); err != nil {
		return o, r, fmt.Errorf("add route to %s: %w", prefix, err)
	}
	return policy.Overlay{Interface: uint32(index), MTU: mtu}, policy.Route{Prefix: prefix}, nil
}

func addVeth(name string) (uint32, error) {
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name + "-peer"}
	if err := addUp(veth); err != nil {
		return 0, err
	}
	peer, err := netlink.LinkByName(name + "-peer")
	if err != nil {
		return 0, fmt.Errorf("find the peer of %s: %w", name, err)
	}
	return uint32(veth.Index), netlink.LinkSetUp(peer)
}

func addUp(link netlink.Link) error {
	if err := netlink.LinkAdd(link); err != nil {
		return fmt.Errorf("make %s: %w", link.Attrs().Name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", link.Attrs().Name, err)
	}
	return nil
}

// addRoutes gives the node a world outside: a neighbour that is known, one that
// is not, a narrow route, a place that cannot be reached, and an address of its own.
func (m *machine) addRoutes() ([]policy.Route, error) {
	index := int(m.uplink)
	known, unknown := net.ParseIP("fe80::99"), net.ParseIP("fe80::98")
	err := netlink.NeighSet(&netlink.Neigh{
		LinkIndex: index, Family: unix.AF_INET6, IP: known, State: netlink.NUD_PERMANENT,
		HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 0x99},
	})
	if err != nil {
		return nil, fmt.Errorf("add the router's neighbour entry: %w", err)
	}
	own := policy.Route{Prefix: netip.MustParsePrefix("2001:db8:9::9/128"), Local: true}
	if err := netlink.AddrAdd(linkOf(index), &netlink.Addr{IPNet: ipNet(own.Prefix), Flags: unix.IFA_F_NODAD}); err != nil {
		return nil, fmt.Errorf("add the node's own address: %w", err)
	}
	routes := []policy.Route{own}
	for _, r := range []struct {
		policy.Route
		via net.IP
	}{
		{policy.Route{Prefix: netip.MustParsePrefix("::/0"), Uplink: true, MTU: 1500}, known},
		{policy.Route{Prefix: netip.MustParsePrefix("2001:db8:78::/48"), Uplink: true, MTU: 1300}, known},
		{policy.Route{Prefix: netip.MustParsePrefix("2001:db8:79::/48"), Uplink: true, MTU: 1280}, unknown},
		{policy.Route{Prefix: netip.MustParsePrefix("2600::/16")}, nil},
	} {
		// A route's MTU counts for what is forwarded only when it is locked.
		route := &netlink.Route{Dst: ipNet(r.Prefix), LinkIndex: index, Gw: r.via, MTU: r.MTU, MTULock: true}
		if r.via == nil {
			route = &netlink.Route{Dst: ipNet(r.Prefix), Type: unix.RTN_UNREACHABLE, LinkIndex: 1}
		}
		if err := netlink.RouteAdd(route); err != nil {
			return nil, fmt.Errorf("add route to %s: %w", r.Prefix, err)
		}
		routes = append(routes, r.Route)
	}
	return routes, nil
}

func linkOf(index int) netlink.Link {
	return &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}}
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
