package underlay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// farAway is an address to which only a default route leads: nothing of 2000::/16 is
// assigned to anybody.
var farAway = netip.MustParseAddr("2000::1")

// resolveTime is how long a router may take to be found on the link.
const resolveTime = 4 * time.Second

// way is how packets leave.
type way struct {
	uplink  string
	index   int
	gateway netip.Addr
	mac     net.HardwareAddr // empty where the link has none
}

// noWay says that there is none, and what that means.
type noWay struct {
	finding Finding
	uplink  string
	gateway netip.Addr
}

func (e *noWay) Error() string { return string(e.finding) }

// findWay gives the way that the default route takes.
func findWay(ctx context.Context) (way, error) {
	routes, err := netlink.RouteGet(farAway.AsSlice())
	switch {
	case errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH) || errors.Is(err, unix.EACCES) ||
		errors.Is(err, unix.EINVAL) || err == nil && (len(routes) == 0 || routes[0].Gw == nil):
		return way{}, &noWay{finding: NoDefault}
	case err != nil:
		return way{}, fmt.Errorf("find the default route: %w", err)
	}
	link, err := netlink.LinkByIndex(routes[0].LinkIndex)
	if err != nil {
		return way{}, fmt.Errorf("find the interface of the default route: %w", err)
	}
	gateway, _ := netip.AddrFromSlice(routes[0].Gw)
	w := way{uplink: link.Attrs().Name, index: link.Attrs().Index, gateway: gateway}
	if len(link.Attrs().HardwareAddr) == 0 {
		return w, nil
	}
	return w, w.resolve(ctx)
}

// resolve waits until the kernel knows the router's link-layer address.
func (w *way) resolve(ctx context.Context) error {
	for deadline := time.Now().Add(resolveTime); ; {
		neighbours, err := netlink.NeighList(w.index, netlink.FAMILY_V6)
		if err != nil {
			return fmt.Errorf("read the neighbours on %s: %w", w.uplink, err)
		}
		for _, n := range neighbours {
			if n.IP.Equal(w.gateway.AsSlice()) && len(n.HardwareAddr) > 0 && n.State&(unix.NUD_FAILED|unix.NUD_INCOMPLETE) == 0 {
				w.mac = n.HardwareAddr
				return nil
			}
		}
		if time.Now().After(deadline) {
			return &noWay{GatewaySilent, w.uplink, w.gateway}
		}
		w.nudge()
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the router %v: %w", w.gateway, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// nudge sends the router a packet to a port that nobody has (discard, RFC 863), so
// that the kernel looks for it.
func (w *way) nudge() {
	address := w.gateway
	if address.IsLinkLocalUnicast() {
		address = address.WithZone(w.uplink)
	}
	conn, err := net.DialUDP("udp6", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(address, 9)))
	if err != nil {
		return // it is tried again
	}
	_, _ = conn.Write([]byte{0})
	_ = conn.Close()
}
