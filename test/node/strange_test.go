package node

import (
	"net"
	"net/netip"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
)

// answerTime is how long an answer to a crafted frame may take. On a veth it
// takes microseconds.
const answerTime = 60 * time.Millisecond

// strangeFrame is something a stranger on the link may send to make a host
// show itself.
type strangeFrame struct {
	name   string
	frames [][]gopacket.SerializableLayer
	spoil  func([]byte) // changes each frame after it was built
}

// strangeFrames are all from the LAN host's address to the node's.
func strangeFrames(lan, node net.HardwareAddr) []strangeFrame {
	c := crafter{lan, node}
	list := c.transports()
	list = append(list, c.extensions()...)
	list = append(list, c.fragments()...)
	list = append(list, c.groups()...)
	return append(list, c.tagged()...)
}

type crafter struct{ lan, node net.HardwareAddr }

type stack = []gopacket.SerializableLayer

// v6 is an IPv6 packet to the node.
func (c crafter) v6(next layers.IPProtocol, rest ...gopacket.SerializableLayer) stack {
	return append(stack{
		probe.Ethernet(c.lan, c.node, layers.EthernetTypeIPv6), probe.IPv6(lab.LANIPv6, lab.NodeIPv6, next),
	}, rest...)
}

// v4 is an IPv4 packet to the node.
func (c crafter) v4(protocol layers.IPProtocol, rest ...gopacket.SerializableLayer) stack {
	return append(stack{
		probe.Ethernet(c.lan, c.node, layers.EthernetTypeIPv4), probe.IPv4(lab.LANIPv4, lab.NodeIPv4, protocol),
	}, rest...)
}

func one(name string, s stack) strangeFrame {
	return strangeFrame{name: name, frames: []stack{s}}
}

func payload(bytes int) gopacket.Payload { return make([]byte, bytes) }

func echo6() stack {
	return stack{probe.ICMPv6(layers.ICMPv6TypeEchoRequest, 0), probe.EchoRequest(7, 7)}
}

func icmp4(kind, code uint8) *layers.ICMPv4 {
	return &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(kind, code), Id: 7, Seq: 7}
}

// transports are plain packets of every kind that a kernel answers.
func (c crafter) transports() []strangeFrame {
	tcp := func(set func(*layers.TCP)) *layers.TCP {
		h := &layers.TCP{SrcPort: 40000, DstPort: 80, Seq: 1, Ack: 1, Window: 1024}
		set(h)
		return h
	}
	sctp := gopacket.Payload{0x9c, 0x40, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 4}
	dccp := gopacket.Payload{0x9c, 0x40, 0, 80, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0}
	return []strangeFrame{
		one("SYN to an open port", c.v6(layers.IPProtocolTCP, probe.SYN(40001, 80))),
		one("SYN to a closed port", c.v6(layers.IPProtocolTCP, probe.SYN(40002, 81))),
		one("SYN to an open port, IPv4", c.v4(layers.IPProtocolTCP, probe.SYN(40003, 80))),
		one("ACK of no connection", c.v6(layers.IPProtocolTCP, tcp(func(h *layers.TCP) { h.ACK = true }))),
		one("SYN-ACK of no connection", c.v4(layers.IPProtocolTCP, tcp(func(h *layers.TCP) { h.SYN, h.ACK = true, true }))),
		one("FIN to a closed port", c.v6(layers.IPProtocolTCP, tcp(func(h *layers.TCP) { h.DstPort, h.FIN = 81, true }))),
		one("no flags to a closed port", c.v4(layers.IPProtocolTCP, tcp(func(h *layers.TCP) { h.DstPort = 81 }))),
		one("every flag to a closed port", c.v6(layers.IPProtocolTCP, tcp(func(h *layers.TCP) {
			h.DstPort, h.FIN, h.PSH, h.URG = 81, true, true, true
		}))),
		one("UDP to an open port", c.v6(layers.IPProtocolUDP, probe.UDP(40004, 53), payload(12))),
		one("UDP to a closed port", c.v6(layers.IPProtocolUDP, probe.UDP(40005, 54), payload(12))),
		one("UDP to a closed port, IPv4", c.v4(layers.IPProtocolUDP, probe.UDP(40006, 54), payload(12))),
		one("UDP from the DNS port", c.v4(layers.IPProtocolUDP, probe.UDP(53, 54), payload(12))),
		one("echo request", c.v6(layers.IPProtocolICMPv6, echo6()...)),
		one("echo request, IPv4", c.v4(layers.IPProtocolICMPv4, icmp4(layers.ICMPv4TypeEchoRequest, 0), payload(12))),
		one("timestamp request", c.v4(layers.IPProtocolICMPv4, icmp4(layers.ICMPv4TypeTimestampRequest, 0), payload(12))),
		one("node information query", c.v6(layers.IPProtocolICMPv6, probe.ICMPv6(139, 0), payload(28))),
		one("SCTP", c.v6(layers.IPProtocolSCTP, sctp)),
		one("DCCP, IPv4", c.v4(33, dccp)),
		one("GRE", c.v6(layers.IPProtocolGRE, payload(12))),
		one("6in4", c.v4(layers.IPProtocolIPv6, probe.IPv6(lab.LANIPv6, lab.NodeIPv6, layers.IPProtocolICMPv6),
			probe.ICMPv6(layers.ICMPv6TypeEchoRequest, 0), probe.EchoRequest(8, 8))),
		one("unknown protocol", c.v6(200, payload(12))),
		one("unknown protocol, IPv4", c.v4(200, payload(12))),
		one("no next header", c.v6(layers.IPProtocolNoNextHeader)),
		{"spoofed from the router", []stack{{
			probe.Ethernet(c.lan, c.node, layers.EthernetTypeIPv6), probe.IPv6(lab.RouterIPv6, lab.NodeIPv6, layers.IPProtocolTCP),
			probe.SYN(40007, 80)}}, nil},
		{"spoofed from the node itself", []stack{{
			probe.Ethernet(c.lan, c.node, layers.EthernetTypeIPv4), probe.IPv4(lab.NodeIPv4, lab.NodeIPv4, layers.IPProtocolTCP),
			probe.SYN(40008, 80)}}, nil},
	}
}

// extensions hide a packet behind IPv6 extension headers or IPv4 options.
func (c crafter) extensions() []strangeFrame {
	// Padding, then the option type to be tried.
	options := func(kind byte) gopacket.Payload {
		return gopacket.Payload{byte(layers.IPProtocolICMPv6), 0, kind, 0, 1, 2, 0, 0}
	}
	routing := gopacket.Payload{byte(layers.IPProtocolICMPv6), 2, 0, 1, 0, 0, 0, 0}
	hop := lab.NodeIPv6.As16()
	routing = append(routing, hop[:]...)
	const hopByHop, destination = 0, layers.IPProtocol(60)
	recordRoute := probe.IPv4(lab.LANIPv4, lab.NodeIPv4, layers.IPProtocolICMPv4)
	recordRoute.Options = []layers.IPv4Option{{OptionType: 7, OptionLength: 7, OptionData: []byte{4, 0, 0, 0, 0}}, {OptionType: 0}}
	echo := gopacket.Payload(echoBytes(lab.LANIPv6, lab.NodeIPv6))
	return []strangeFrame{
		one("echo behind hop-by-hop padding", c.v6(hopByHop, gopacket.Payload{58, 0, 1, 4, 0, 0, 0, 0}, echo)),
		one("echo behind destination padding", c.v6(destination, gopacket.Payload{58, 0, 1, 4, 0, 0, 0, 0}, echo)),
		one("echo behind three headers", c.v6(hopByHop, gopacket.Payload{60, 0, 1, 4, 0, 0, 0, 0},
			gopacket.Payload{60, 0, 1, 4, 0, 0, 0, 0}, gopacket.Payload{58, 0, 1, 4, 0, 0, 0, 0}, echo)),
		one("an option that asks to be complained of", c.v6(destination, options(0x9e), echo)),
		one("a routing header", c.v6(layers.IPProtocolIPv6Routing, routing, echo)),
		{"record route", []stack{{
			probe.Ethernet(c.lan, c.node, layers.EthernetTypeIPv4), recordRoute,
			icmp4(layers.ICMPv4TypeEchoRequest, 0), payload(12)}}, nil},
		{"wrong version", []stack{c.v6(layers.IPProtocolICMPv6, echo6()...)}, func(f []byte) { f[14] = 0x50 }},
		{"payload length too large", []stack{c.v6(layers.IPProtocolICMPv6, echo6()...)}, func(f []byte) { f[18] = 0xff }},
	}
}

// echoBytes is an ICMPv6 echo request with its checksum, for where a header
// that is only bytes stands before it.
func echoBytes(src, dst netip.Addr) []byte {
	frame, err := probe.Frame(probe.IPv6(src, dst, layers.IPProtocolICMPv6),
		probe.ICMPv6(layers.ICMPv6TypeEchoRequest, 0), probe.EchoRequest(9, 9), payload(16))
	if err != nil {
		panic(err) // constant input
	}
	return frame[40:]
}

// fragments are a packet in pieces.
func (c crafter) fragments() []strangeFrame {
	echo := echoBytes(lab.LANIPv6, lab.NodeIPv6)
	piece := func(id byte, offset uint16, more bool, data []byte) stack {
		last := byte(offset << 3)
		if more {
			last |= 1
		}
		header := gopacket.Payload{58, 0, byte(offset >> 5), last, 0, 0, 0, id}
		return c.v6(layers.IPProtocolIPv6Fragment, header, gopacket.Payload(data))
	}
	v4 := func(id, offset uint16, flags layers.IPv4Flag, data []byte) stack {
		ip := probe.IPv4(lab.LANIPv4, lab.NodeIPv4, layers.IPProtocolUDP)
		ip.FragOffset, ip.Flags, ip.Id = offset, flags, id
		return stack{probe.Ethernet(c.lan, c.node, layers.EthernetTypeIPv4), ip, gopacket.Payload(data)}
	}
	// UDP without a checksum, from 40009 to the closed port 54, 24 bytes.
	udp := append([]byte{0x9c, 0x49, 0, 54, 0, 24, 0, 0}, make([]byte, 16)...)
	return []strangeFrame{
		one("atomic fragment", piece(1, 0, false, echo)),
		{"two fragments", []stack{piece(2, 0, true, echo[:16]), piece(2, 2, false, echo[16:])}, nil},
		{"fragments in the wrong order", []stack{v4(4, 1, 0, udp[8:]), v4(4, 0, layers.IPv4MoreFragments, udp[:8])}, nil},
		{"two fragments, IPv4", []stack{v4(5, 0, layers.IPv4MoreFragments, udp[:8]), v4(5, 1, 0, udp[8:])}, nil},
		one("a fragment without its first", piece(3, 100, false, echo)),
		{"overlapping fragments", []stack{
			v4(6, 0, layers.IPv4MoreFragments, udp[:16]), v4(6, 1, 0, udp[8:])}, nil},
	}
}

// groups are frames to everybody on the link.
func (c crafter) groups() []strangeFrame {
	allNodes := netip.MustParseAddr("ff02::1")
	toAll6 := func(next layers.IPProtocol, rest ...gopacket.SerializableLayer) stack {
		return append(stack{probe.Ethernet(c.lan, probe.MulticastMAC(allNodes), layers.EthernetTypeIPv6),
			probe.IPv6(lab.LANIPv6, allNodes, next)}, rest...)
	}
	toAll4 := func(dst string, protocol layers.IPProtocol, rest ...gopacket.SerializableLayer) stack {
		return append(stack{probe.Ethernet(c.lan, layers.EthernetBroadcast, layers.EthernetTypeIPv4),
			probe.IPv4(lab.LANIPv4, netip.MustParseAddr(dst), protocol)}, rest...)
	}
	offer := &layers.DHCPv4{
		Operation: layers.DHCPOpReply, HardwareType: layers.LinkTypeEthernet, HardwareLen: 6, Xid: 7, ClientHWAddr: c.node,
		Options: layers.DHCPOptions{layers.NewDHCPOption(layers.DHCPOptMessageType, []byte{byte(layers.DHCPMsgTypeOffer)})},
	}
	return []strangeFrame{
		one("echo to all nodes", toAll6(layers.IPProtocolICMPv6, echo6()...)),
		one("UDP to all nodes", toAll6(layers.IPProtocolUDP, probe.UDP(40010, 53), payload(12))),
		one("an option to all nodes that asks to be complained of", toAll6(60,
			gopacket.Payload{58, 0, 0x9e, 0, 1, 2, 0, 0}, gopacket.Payload(echoBytes(lab.LANIPv6, allNodes)))),
		one("broadcast echo", toAll4("192.0.2.255", layers.IPProtocolICMPv4, icmp4(layers.ICMPv4TypeEchoRequest, 0), payload(12))),
		one("broadcast UDP", toAll4("255.255.255.255", layers.IPProtocolUDP, probe.UDP(40011, 53), payload(12))),
		one("DHCP offer that nobody asked for", toAll4("255.255.255.255", layers.IPProtocolUDP, probe.UDP(67, 68), offer)),
		one("DHCPv6 server's answer that nobody asked for", c.v6(layers.IPProtocolUDP, probe.UDP(547, 546),
			&layers.DHCPv6{MsgType: layers.DHCPv6MsgTypeReconfigure, TransactionID: []byte{1, 2, 3}})),
	}
}

// tagged are frames for VLANs that the node is not in, or is by priority only.
func (c crafter) tagged() []strangeFrame {
	tag := func(id uint16, of stack, kind, inner layers.EthernetType) stack {
		eth := probe.Ethernet(c.lan, c.node, kind)
		return append(stack{eth, &layers.Dot1Q{VLANIdentifier: id, Type: inner}}, of[1:]...)
	}
	syn, echo := c.v6(layers.IPProtocolTCP, probe.SYN(40012, 80)), c.v6(layers.IPProtocolICMPv6, echo6()...)
	echo4 := c.v4(layers.IPProtocolICMPv4, icmp4(layers.ICMPv4TypeEchoRequest, 0), payload(12))
	twice := append(stack{
		probe.Ethernet(c.lan, c.node, layers.EthernetTypeQinQ),
		&layers.Dot1Q{VLANIdentifier: 5, Type: layers.EthernetTypeDot1Q},
		&layers.Dot1Q{VLANIdentifier: 6, Type: layers.EthernetTypeIPv6},
	}, echo[1:]...)
	return []strangeFrame{
		one("SYN in a VLAN", tag(42, syn, layers.EthernetTypeDot1Q, layers.EthernetTypeIPv6)),
		one("echo with a priority tag", tag(0, echo, layers.EthernetTypeDot1Q, layers.EthernetTypeIPv6)),
		one("echo with a priority tag, IPv4", tag(0, echo4, layers.EthernetTypeDot1Q, layers.EthernetTypeIPv4)),
		one("echo in a provider's VLAN", tag(0, echo, layers.EthernetTypeQinQ, layers.EthernetTypeIPv6)),
		one("echo in two VLANs", twice),
	}
}
