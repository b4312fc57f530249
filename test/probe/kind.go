package probe

import (
	"bytes"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// Kind is what a frame is to somebody who looks for what should not be on a wire.
type Kind string

// The kinds.
const (
	Neighbour Kind = "neighbour" // ARP, ND, or who listens to which group
	WireGuard Kind = "WireGuard"
	Unknown   Kind = "unknown"
)

// KindOf tells of what kind a frame is. WireGuard's goes from or to a port for which
// listening says yes.
func KindOf(frame gopacket.Packet, listening func(port uint16) bool) Kind {
	if frame.Layer(layers.LayerTypeARP) != nil {
		return Neighbour
	}
	if icmp, ok := frame.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6); ok {
		switch icmp.TypeCode.Type() {
		case layers.ICMPv6TypeRouterSolicitation, layers.ICMPv6TypeRouterAdvertisement,
			layers.ICMPv6TypeNeighborSolicitation, layers.ICMPv6TypeNeighborAdvertisement,
			layers.ICMPv6TypeMLDv2MulticastListenerReportMessageV2:
			return Neighbour
		}
	}
	udp, ok := frame.Layer(layers.LayerTypeUDP).(*layers.UDP)
	if ok && isWireGuard(udp.Payload) && (listening(uint16(udp.SrcPort)) || listening(uint16(udp.DstPort))) {
		return WireGuard
	}
	return Unknown
}

// isWireGuard knows WireGuard's messages by their first word, a type of 1 to 4, and
// their length (WireGuard's paper, 5.4).
func isWireGuard(message []byte) bool {
	if len(message) < 32 || !bytes.Equal(message[1:4], []byte{0, 0, 0}) {
		return false
	}
	switch message[0] {
	case 1:
		return len(message) == 148
	case 2:
		return len(message) == 92
	case 3:
		return len(message) == 64
	}
	return message[0] == 4 && len(message)%16 == 0
}
