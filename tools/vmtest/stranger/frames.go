package stranger

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// Ports that the stranger tries. Nothing listens on the last.
var ports = []layers.TCPPort{22, 9022, 80}

const deadUDP = 33434

// doors gives one frame for every door there is, from a source port.
func (s *Stranger) doors(port uint16) [][]byte {
	frames := [][]byte{s.arp(layers.ARPRequest), s.solicit()}
	for _, ip := range []func(layers.IPProtocol) (ipLayer, *layers.Ethernet){s.ipv4, s.ipv6} {
		header, eth := ip(layers.IPProtocolTCP)
		for _, to := range ports {
			tcp := &layers.TCP{SrcPort: layers.TCPPort(port), DstPort: to, SYN: true, Window: 1024, Seq: 1}
			_ = tcp.SetNetworkLayerForChecksum(header)
			frames = append(frames, serialize(eth, header, tcp))
		}
		header, eth = ip(layers.IPProtocolUDP)
		udp := &layers.UDP{SrcPort: layers.UDPPort(port), DstPort: deadUDP}
		_ = udp.SetNetworkLayerForChecksum(header)
		frames = append(frames, serialize(eth, header, udp, gopacket.Payload("?")))
	}
	header, eth := s.ipv4(layers.IPProtocolICMPv4)
	frames = append(frames, serialize(eth, header, &layers.ICMPv4{
		TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeEchoRequest, 0), Id: port, Seq: 1,
	}))
	header, eth = s.ipv6(layers.IPProtocolICMPv6)
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeEchoRequest, 0)}
	_ = icmp.SetNetworkLayerForChecksum(header)
	return append(frames, serialize(eth, header, icmp, &layers.ICMPv6Echo{Identifier: port, SeqNumber: 1}))
}

// ipLayer is a header that can be written and that checksums are made with.
type ipLayer interface {
	gopacket.NetworkLayer
	gopacket.SerializableLayer
}

func (s *Stranger) ethernet(kind layers.EthernetType) *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: mac, DstMAC: s.link.GuestMAC, EthernetType: kind}
}

func (s *Stranger) ipv4(proto layers.IPProtocol) (ipLayer, *layers.Ethernet) {
	return &layers.IPv4{
		Version: 4, TTL: 64, Protocol: proto, SrcIP: s.link.Stranger4.AsSlice(), DstIP: s.link.Guest4.AsSlice(),
	}, s.ethernet(layers.EthernetTypeIPv4)
}

func (s *Stranger) ipv6(proto layers.IPProtocol) (ipLayer, *layers.Ethernet) {
	return &layers.IPv6{
		Version: 6, HopLimit: 255, NextHeader: proto, SrcIP: s.link.Stranger6.AsSlice(), DstIP: s.link.Guest6.AsSlice(),
	}, s.ethernet(layers.EthernetTypeIPv6)
}

func (s *Stranger) arp(operation uint16) []byte {
	return serialize(s.ethernet(layers.EthernetTypeARP), &layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
		Operation: operation, SourceHwAddress: mac, SourceProtAddress: s.link.Stranger4.AsSlice(),
		DstHwAddress: make([]byte, 6), DstProtAddress: s.link.Guest4.AsSlice(),
	})
}

// solicit asks the guest for its link-layer address, which also tells ours
// (RFC 4861, 4.3).
func (s *Stranger) solicit() []byte {
	header, eth := s.ipv6(layers.IPProtocolICMPv6)
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeNeighborSolicitation, 0)}
	_ = icmp.SetNetworkLayerForChecksum(header)
	return serialize(eth, header, icmp, &layers.ICMPv6NeighborSolicitation{
		TargetAddress: s.link.Guest6.AsSlice(),
		Options:       layers.ICMPv6Options{{Type: layers.ICMPv6OptSourceAddress, Data: mac}},
	})
}

// advertise tells the guest our link-layer address.
func (s *Stranger) advertise() []byte {
	const solicited, override = 0x40, 0x20
	header, eth := s.ipv6(layers.IPProtocolICMPv6)
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeNeighborAdvertisement, 0)}
	_ = icmp.SetNetworkLayerForChecksum(header)
	return serialize(eth, header, icmp, &layers.ICMPv6NeighborAdvertisement{
		Flags: solicited | override, TargetAddress: s.link.Stranger6.AsSlice(),
		Options: layers.ICMPv6Options{{Type: layers.ICMPv6OptTargetAddress, Data: mac}},
	})
}

func serialize(all ...gopacket.SerializableLayer) []byte {
	buffer := gopacket.NewSerializeBuffer()
	options := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buffer, options, all...); err != nil {
		panic(err) // the layers are all made here
	}
	return buffer.Bytes()
}

// courtesy is what any host on the link must say for the guest to be able to
// answer: it gives the reply to a question for our link-layer address.
func (s *Stranger) courtesy(frame []byte) []byte {
	packet := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.NoCopy)
	if arp, ok := packet.Layer(layers.LayerTypeARP).(*layers.ARP); ok &&
		arp.Operation == layers.ARPRequest && isAddress(arp.DstProtAddress, s.link.Stranger4) {
		return s.arp(layers.ARPReply)
	}
	if ns, ok := packet.Layer(layers.LayerTypeICMPv6NeighborSolicitation).(*layers.ICMPv6NeighborSolicitation); ok &&
		isAddress(ns.TargetAddress, s.link.Stranger6) {
		return s.advertise()
	}
	return nil
}

func isAddress(bytes net.IP, a netip.Addr) bool {
	got, ok := netip.AddrFromSlice(bytes)
	return ok && got == a
}

// answer names what a frame of the guest answers, or gives "" for what it may
// say by itself: ARP, neighbour discovery, who listens to what.
func (s *Stranger) answer(frame []byte) string {
	packet := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.NoCopy)
	network := packet.NetworkLayer()
	if network == nil {
		return ""
	}
	family := network.LayerType().String()
	if tcp, ok := packet.Layer(layers.LayerTypeTCP).(*layers.TCP); ok {
		flags := "segment"
		switch {
		case tcp.RST:
			flags = "reset"
		case tcp.SYN && tcp.ACK:
			flags = "SYN-ACK"
		case tcp.SYN:
			flags = "SYN"
		}
		return fmt.Sprintf("%s TCP %s from port %d", family, flags, uint16(tcp.SrcPort))
	}
	if icmp, ok := packet.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4); ok {
		return family + " ICMP " + icmp.TypeCode.String()
	}
	if icmp, ok := packet.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6); ok {
		switch icmp.TypeCode.Type() {
		case layers.ICMPv6TypeNeighborSolicitation, layers.ICMPv6TypeNeighborAdvertisement,
			layers.ICMPv6TypeRouterSolicitation, layers.ICMPv6TypeMLDv1MulticastListenerReportMessage,
			layers.ICMPv6TypeMLDv1MulticastListenerDoneMessage, layers.ICMPv6TypeMLDv2MulticastListenerReportMessageV2:
			return ""
		}
		return family + " ICMP " + icmp.TypeCode.String()
	}
	if udp, ok := packet.Layer(layers.LayerTypeUDP).(*layers.UDP); ok {
		return fmt.Sprintf("%s UDP from port %d", family, uint16(udp.SrcPort))
	}
	if _, ok := packet.Layer(layers.LayerTypeIPv6HopByHop).(*layers.IPv6HopByHop); ok {
		return "" // MLD
	}
	return family + " of another kind"
}
