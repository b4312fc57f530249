//go:build vm

package vm

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
)

// The addresses of what lies below a VLAN.
var (
	lowNodeIPv4 = netip.MustParseAddr("198.51.100.10")
	lowNodeIPv6 = netip.MustParseAddr("2001:db8:3::10")
)

// layVLAN makes low0, and on it up0, which is VLAN 7; the world has eth0 and
// eth0.7.
func layVLAN(t *testing.T, node, world *lab.Machine) {
	t.Helper()
	cable(t, node, "low0", world, "eth0")
	run(t, node, "ip link add link low0 name up0 type vlan id 7")
	run(t, world, "ip link add link eth0 name eth0.7 type vlan id 7")
	address(t, node, "low0", lowNodeIPv4.String()+"/24", lowNodeIPv6.String()+"/64")
	address(t, world, "eth0", "198.51.100.1/24", "2001:db8:3::1/64")
	addressBoth(t, node, "up0", world, "eth0.7")
}

func vlanHooks(t *testing.T) []string {
	mode := tcMode(t)
	return append(hooks(t, "low0", "native"), "up0 ingress "+mode, "up0 egress "+mode)
}

// TestVLAN: of a VLAN and what it lies on, both are closed; XDP is on the lower
// one, and the upper one's own programs let its traffic through.
func TestVLAN(t *testing.T) {
	s := newScene(t, "uplinks: [up0]\n", func(node, world *lab.Machine) { layVLAN(t, node, world) })
	s.start()
	s.hasUplinks(vlanHooks(t))
	s.behaves()
	closed(t, s.world, lowNodeIPv4, lowNodeIPv6)
	pings(t, s.Machine, netip.MustParseAddr("198.51.100.1"), probe.Answered)
	pings(t, s.Machine, netip.MustParseAddr("2001:db8:3::1"), probe.Answered)
	t.Run("tags", s.tags)
}

// tags sends the host what a stranger may think of in the way of tags, and hears
// nothing.
func (s *scene) tags(t *testing.T) {
	wire, err := probe.OpenWire(s.world, "eth0")
	if err != nil {
		t.Fatal(err)
	}
	defer wire.Close()
	mac := linkMAC(t, s.Machine, "low0")
	answer := func(p gopacket.Packet) bool {
		icmp, ok := p.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6)
		return ok && icmp.TypeCode.Type() == layers.ICMPv6TypeEchoReply || p.Layer(layers.LayerTypeTCP) != nil
	}
	for _, c := range []struct {
		name string
		tags []uint16
	}{
		{"no tag", nil},
		{"priority only", []uint16{0}},
		{"its own", []uint16{7}},
		{"of a VLAN that the node has not", []uint16{8}},
		{"twice its own", []uint16{7, 7}},
		{"its own in priority only", []uint16{0, 7}},
		{"three", []uint16{7, 7, 7}},
	} {
		t.Run(c.name, func(t *testing.T) {
			wire.Forget()
			for _, to := range []netip.Addr{lab.NodeIPv6, lowNodeIPv6} {
				for _, from := range []netip.Addr{worldIPv6, netip.MustParseAddr("2001:db8:3::1")} {
					send(t, wire, c.tags, probe.Ethernet(wire.MAC, mac, layers.EthernetTypeIPv6),
						probe.IPv6(from, to, layers.IPProtocolICMPv6),
						probe.ICMPv6(layers.ICMPv6TypeEchoRequest, 0), probe.EchoRequest(7, 7))
					send(t, wire, c.tags, probe.Ethernet(wire.MAC, mac, layers.EthernetTypeIPv6),
						probe.IPv6(from, to, layers.IPProtocolTCP), probe.SYN(40000, sshPort))
				}
			}
			if got := wire.Quiet(500*time.Millisecond, answer); len(got) > 0 {
				t.Errorf("answered: %v", got[0])
			}
		})
	}
}

// send sends a frame with VLAN tags put into it.
func send(t *testing.T, w *probe.Wire, tags []uint16, stack ...gopacket.SerializableLayer) {
	t.Helper()
	frame, err := probe.Frame(stack...)
	if err != nil {
		t.Fatal(err)
	}
	const macs, dot1q = 12, 0x8100
	tagged := append([]byte{}, frame[:macs]...)
	for _, id := range tags {
		tagged = binary.BigEndian.AppendUint16(tagged, dot1q)
		tagged = binary.BigEndian.AppendUint16(tagged, id)
	}
	if err := w.Send(append(tagged, frame[macs:]...)); err != nil {
		t.Fatal(err)
	}
}

func linkMAC(t *testing.T, on *lab.Machine, name string) net.HardwareAddr {
	t.Helper()
	h, err := on.Netlink()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	l, err := h.LinkByName(name)
	if err != nil {
		t.Fatal(fmt.Errorf("%s: find %s: %w", on.Name, name, err))
	}
	return l.Attrs().HardwareAddr
}

// TestVLANEarly: early lockdown closes the lower device as well, and the daemon
// that follows finds nothing to repair.
func TestVLANEarly(t *testing.T) {
	s := newScene(t, "uplinks: [up0]\n", func(node, world *lab.Machine) { layVLAN(t, node, world) })
	open(t, s.world, lab.NodeIPv4, lowNodeIPv6)
	s.early()
	closed(t, s.world, lab.NodeIPv4, lab.NodeIPv6, lowNodeIPv4, lowNodeIPv6)
	s.start()
	s.hasUplinks(vlanHooks(t))
	s.behaves()
}

// early runs `zosnet lockdown early`, as the boot does.
func (n *node) early() {
	n.t.Helper()
	n.mustCLI("lockdown", "early", "--config", n.path("node.yaml"))
}
