package probe

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// Frame serializes layers from the outside in, with lengths and checksums
// made right: a frame that is meant to be wrong is changed afterwards.
// Transport layers find the network layer before them by themselves.
func Frame(stack ...gopacket.SerializableLayer) ([]byte, error) {
	var network gopacket.NetworkLayer
	for _, layer := range stack {
		if n, ok := layer.(gopacket.NetworkLayer); ok {
			network = n
		}
		if t, ok := layer.(interface {
			SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
		}); ok && network != nil {
			if err := t.SetNetworkLayerForChecksum(network); err != nil {
				return nil, fmt.Errorf("checksum of %v over %v: %w", layer.LayerType(), network.LayerType(), err)
			}
		}
	}
	buf := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, stack...)
	if err != nil {
		return nil, fmt.Errorf("build a frame: %w", err)
	}
	return buf.Bytes(), nil
}

// Ethernet is an Ethernet II header for the given type.
func Ethernet(src, dst net.HardwareAddr, kind layers.EthernetType) *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: src, DstMAC: dst, EthernetType: kind}
}

// IPv6 is an IPv6 header (RFC 8200) with a hop limit of 64.
func IPv6(src, dst netip.Addr, next layers.IPProtocol) *layers.IPv6 {
	return &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: next, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
}

// NDIPv6 is an IPv6 header as neighbour discovery wants it: ICMPv6 with a hop
// limit of 255 (RFC 4861, 7.1.1).
func NDIPv6(src, dst netip.Addr) *layers.IPv6 {
	ip := IPv6(src, dst, layers.IPProtocolICMPv6)
	ip.HopLimit = 255
	return ip
}

// IPv4 is an IPv4 header without options and a time to live of 64.
func IPv4(src, dst netip.Addr, protocol layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{Version: 4, IHL: 5, TTL: 64, Id: 1, Protocol: protocol, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
}

// UDP is a UDP header.
func UDP(sport, dport uint16) *layers.UDP {
	return &layers.UDP{SrcPort: layers.UDPPort(sport), DstPort: layers.UDPPort(dport)}
}

// SYN is the TCP header that opens a connection.
func SYN(sport, dport uint16) *layers.TCP {
	return &layers.TCP{SrcPort: layers.TCPPort(sport), DstPort: layers.TCPPort(dport), Seq: 1, SYN: true, Window: 64240}
}

// ICMPv6 is an ICMPv6 header; the message's own layer follows it.
func ICMPv6(kind, code uint8) *layers.ICMPv6 {
	return &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(kind, code)}
}

// EchoRequest is an ICMPv6 echo request's body (RFC 4443, 4.1).
func EchoRequest(id, seq uint16) *layers.ICMPv6Echo {
	return &layers.ICMPv6Echo{Identifier: id, SeqNumber: seq}
}

// NeighborSolicitation asks who has the target (RFC 4861, 4.3), from mac.
// Without a mac it is a DAD probe, which carries no source link-layer option.
func NeighborSolicitation(target netip.Addr, mac net.HardwareAddr) *layers.ICMPv6NeighborSolicitation {
	ns := &layers.ICMPv6NeighborSolicitation{TargetAddress: target.AsSlice()}
	if mac != nil {
		ns.Options = layers.ICMPv6Options{{Type: layers.ICMPv6OptSourceAddress, Data: mac}}
	}
	return ns
}

// NeighborAdvertisement says that mac has the target (RFC 4861, 4.4):
// unsolicited, overriding what others know.
func NeighborAdvertisement(target netip.Addr, mac net.HardwareAddr) *layers.ICMPv6NeighborAdvertisement {
	const override = 0x20
	return &layers.ICMPv6NeighborAdvertisement{
		Flags:         override,
		TargetAddress: target.AsSlice(),
		Options:       layers.ICMPv6Options{{Type: layers.ICMPv6OptTargetAddress, Data: mac}},
	}
}

// RouterAdvertisement offers mac as a default router for half an hour
// (RFC 4861, 4.2).
func RouterAdvertisement(mac net.HardwareAddr) *layers.ICMPv6RouterAdvertisement {
	return &layers.ICMPv6RouterAdvertisement{
		HopLimit: 64, RouterLifetime: 1800,
		Options: layers.ICMPv6Options{{Type: layers.ICMPv6OptSourceAddress, Data: mac}},
	}
}

// SolicitedNode is the multicast group in which the owner of an address
// listens for solicitations (RFC 4291, 2.7.1).
func SolicitedNode(a netip.Addr) netip.Addr {
	b := a.As16()
	g := netip.MustParseAddr("ff02::1:ff00:0").As16()
	copy(g[13:], b[13:])
	return netip.AddrFrom16(g)
}

// MulticastMAC is the Ethernet address of an IPv6 group (RFC 2464, 7).
func MulticastMAC(group netip.Addr) net.HardwareAddr {
	b := group.As16()
	return net.HardwareAddr{0x33, 0x33, b[12], b[13], b[14], b[15]}
}
