package control

import (
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/grid"
	"github.com/zosnet/zosnet/pkg/wireguard"
	"github.com/zosnet/zosnet/pkg/wireguard/device"
)

// mtu is what fits into WireGuard over IPv6 over Ethernet, whatever the family is.
const mtu = 1420 // bytes

// alias does not begin as those of tenants' links do, which are removed when no
// network needs them.
const alias = "zosnet-control"

// Interface is what a control interface should be.
type Interface struct {
	Node       string // whose it is: the name follows from it
	PrivateKey wireguard.PrivateKey
	ListenPort uint16
	Address    netip.Addr
	// Reach is what the interface leads to: the control network, or for a guest
	// the node that invites.
	Reach netip.Prefix
	Peers []grid.Peer
	// Services are the TCP ports that the others may reach here.
	Services []uint16
}

// Name gives the name of a node's control interface: the same after a reboot, and
// another for each node on one machine.
func Name(node string) string {
	sum := sha256.Sum256([]byte("zosnet control interface 1" + node))
	return "zc-" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:5]))
}

// Put makes the interface what it should be, and tells what it changed of the device
// and whether it wrote the filter. Applying it again changes nothing.
func Put(devices *device.Devices, want Interface) ([]string, error) {
	name := Name(want.Node)
	// The filter knows the interface by its name: it is there before that is.
	written, err := putFilter(filterOf(name, want.Services))
	if err != nil {
		return nil, err
	}
	d := wireguard.Device{Name: name, Alias: alias, PrivateKey: want.PrivateKey, ListenPort: want.ListenPort, MTU: mtu}
	for _, p := range want.Peers {
		d.Peers = append(d.Peers, wireguard.Peer{
			PublicKey: wireguard.PublicKey(p.PublicKey), Endpoint: p.Endpoint, AllowedIPs: p.AllowedIPs, Keepalive: p.Keepalive,
		})
	}
	changes, err := devices.Apply(d)
	if written {
		changes = append([]string{"table inet " + filterTable}, changes...)
	}
	if err != nil {
		return changes, err
	}
	if err := address(name, want); err != nil {
		return changes, fmt.Errorf("control interface %s: %w", name, err)
	}
	return changes, nil
}

// Remove takes the interface and its filter away.
func Remove(devices *device.Devices, node string) error {
	return errors.Join(devices.Remove(Name(node)), removeFilter())
}

// address gives the interface its one address, without asking for duplicates: they
// cannot be, and it must be there at once for who listens on it. The route to the
// rest of the network is one of its own.
func address(name string, want Interface) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("look it up: %w", err)
	}
	have, err := netlink.AddrList(link, netlink.FAMILY_V6)
	if err != nil {
		return fmt.Errorf("list its addresses: %w", err)
	}
	for _, a := range have {
		if addr, _ := netip.AddrFromSlice(a.IP); addr != want.Address && !addr.IsLinkLocalUnicast() {
			if err := netlink.AddrDel(link, &a); err != nil {
				return fmt.Errorf("take address %s away: %w", a.IPNet, err)
			}
		}
	}
	err = netlink.AddrReplace(link, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(want.Address, 128)), Flags: unix.IFA_F_NODAD})
	if err != nil {
		return fmt.Errorf("add address %v: %w", want.Address, err)
	}
	err = netlink.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(want.Reach), Protocol: routeProtocol})
	if err != nil {
		return fmt.Errorf("add route %v: %w", want.Reach, err)
	}
	return dropRoutes(link, want)
}

// routeProtocol marks the routes of control interfaces. Tenants' have 122, and are
// removed when no network needs them.
const routeProtocol = 123

// dropRoutes takes away what the interface led to before.
func dropRoutes(link netlink.Link, want Interface) error {
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V6,
		&netlink.Route{LinkIndex: link.Attrs().Index, Protocol: routeProtocol}, netlink.RT_FILTER_OIF|netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return fmt.Errorf("list its routes: %w", err)
	}
	for _, r := range slices.DeleteFunc(routes, func(r netlink.Route) bool { return r.Dst != nil && r.Dst.String() == want.Reach.String() }) {
		if err := netlink.RouteDel(&r); err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("take route %v away: %w", r.Dst, err)
		}
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
