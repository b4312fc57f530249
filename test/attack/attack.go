// Package attack lists what a hostile workload may try on the wire, and under
// which drop reason each try must show up.
//
// The demo and the end-to-end tests play the same list. It builds frames; it
// must not send them, nor know how a drop is watched.
package attack

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/zosnet/zosnet/test/probe"
)

// Party is an address and the MAC it is at.
type Party struct {
	Address netip.Addr
	MAC     net.HardwareAddr
}

// Scene is who takes part: two workloads of one network, its gateway, and a
// workload of another network.
type Scene struct {
	Attacker, Victim, Gateway, Stranger Party
}

// Attack is one try of the scene's attacker.
type Attack struct {
	Name   string
	Reason string // of enum drop_reason
	Frame  []byte // Ethernet, as the attacker puts it on its wire

	// Arrived reports whether a frame that somebody got is this attack.
	Arrived func(gopacket.Packet) bool
}

// port marks the datagrams of this package: nothing else sends to it.
const port = 47777

var (
	allNodes  = netip.MustParseAddr("ff02::1")
	anyGroup  = netip.MustParseAddr("ff05::4777")
	forgedMAC = net.HardwareAddr{0x02, 0xba, 0xdb, 0xad, 0xba, 0xdb}
	outsider  = netip.MustParseAddr("2001:db8:2::bad")
)

// List is every attack of the scene.
func (s Scene) List() ([]Attack, error) {
	attacks := append(s.sources(), s.discovery()...)
	attacks = append(attacks, s.others()...)
	list := make([]Attack, 0, len(attacks))
	for _, a := range attacks {
		frame, err := probe.Frame(a.layers...)
		if err != nil {
			return nil, fmt.Errorf("attack %q: %w", a.name, err)
		}
		want := upper(gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default))
		list = append(list, Attack{Name: a.name, Reason: a.reason, Frame: frame,
			Arrived: func(p gopacket.Packet) bool { return bytes.Equal(upper(p), want) }})
	}
	return list, nil
}

// try is an Attack before its frame is built.
type try struct {
	name, reason string
	layers       []gopacket.SerializableLayer
}

// sources are datagrams to the victim from where the attacker is not.
func (s Scene) sources() []try {
	datagram := func(name, reason string, mac net.HardwareAddr, src netip.Addr) try {
		return try{name, reason, []gopacket.SerializableLayer{
			probe.Ethernet(mac, s.Gateway.MAC, layers.EthernetTypeIPv6),
			probe.IPv6(src, s.Victim.Address, layers.IPProtocolUDP), probe.UDP(port, port), gopacket.Payload(name),
		}}
	}
	return []try{
		datagram("source MAC of nobody", "spoofed_mac", forgedMAC, s.Attacker.Address),
		datagram("source MAC of another workload", "spoofed_mac", s.Victim.MAC, s.Attacker.Address),
		datagram("source address of another workload", "spoofed_address", s.Attacker.MAC, s.Victim.Address),
		datagram("source address of another network", "spoofed_address", s.Attacker.MAC, s.Stranger.Address),
		datagram("source address of the gateway", "spoofed_address", s.Attacker.MAC, s.Gateway.Address),
		datagram("source address of the Internet", "spoofed_address", s.Attacker.MAC, outsider),
		datagram("source address of nobody in the network", "unknown_identity", s.Attacker.MAC, unassigned(s.Attacker.Address)),
	}
}

// discovery are neighbour discovery messages on behalf of others.
func (s Scene) discovery() []try {
	message := func(name, reason string, src, dst netip.Addr, kind uint8, body gopacket.SerializableLayer) try {
		return try{name, reason, []gopacket.SerializableLayer{
			probe.Ethernet(s.Attacker.MAC, probe.MulticastMAC(dst), layers.EthernetTypeIPv6),
			probe.NDIPv6(src, dst), probe.ICMPv6(kind, 0), body,
		}}
	}
	group := probe.SolicitedNode(s.Victim.Address)
	redirect := &layers.ICMPv6Redirect{
		TargetAddress:      s.Attacker.Address.AsSlice(),
		DestinationAddress: outsider.AsSlice(),
	}
	return []try{
		message("advertise another workload's address", "nd_guard", s.Attacker.Address, allNodes,
			layers.ICMPv6TypeNeighborAdvertisement, probe.NeighborAdvertisement(s.Victim.Address, s.Attacker.MAC)),
		message("advertise the gateway's address", "nd_guard", s.Attacker.Address, allNodes,
			layers.ICMPv6TypeNeighborAdvertisement, probe.NeighborAdvertisement(s.Gateway.Address, s.Attacker.MAC)),
		message("solicit with another's MAC as one's own", "nd_guard", s.Attacker.Address, group,
			layers.ICMPv6TypeNeighborSolicitation, probe.NeighborSolicitation(s.Victim.Address, s.Victim.MAC)),
		message("claim another workload's address by DAD", "address_taken", netip.IPv6Unspecified(), group,
			layers.ICMPv6TypeNeighborSolicitation, probe.NeighborSolicitation(s.Victim.Address, nil)),
		message("router advertisement", "ra_guard", linkLocal(s.Attacker.MAC), allNodes,
			layers.ICMPv6TypeRouterAdvertisement, probe.RouterAdvertisement(s.Attacker.MAC)),
		message("redirect", "redirect_guard", linkLocal(s.Attacker.MAC), allNodes,
			layers.ICMPv6TypeRedirect, redirect),
	}
}

// others are what does not belong on a workload's wire at all.
func (s Scene) others() []try {
	from, to := s.Attacker, s.Gateway.MAC
	v4a, v4b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	return []try{
		{"DHCPv6 server's answer", "dhcp_guard", []gopacket.SerializableLayer{
			probe.Ethernet(from.MAC, probe.MulticastMAC(allNodes), layers.EthernetTypeIPv6),
			probe.IPv6(from.Address, allNodes, layers.IPProtocolUDP), probe.UDP(547, 546),
			&layers.DHCPv6{MsgType: layers.DHCPv6MsgTypeAdvertise, TransactionID: []byte{1, 2, 3}},
		}},
		{"multicast", "multicast", []gopacket.SerializableLayer{
			probe.Ethernet(from.MAC, probe.MulticastMAC(anyGroup), layers.EthernetTypeIPv6),
			probe.IPv6(from.Address, anyGroup, layers.IPProtocolUDP), probe.UDP(port, port), gopacket.Payload("multicast"),
		}},
		{"IPv4", "not_ipv6", []gopacket.SerializableLayer{
			probe.Ethernet(from.MAC, to, layers.EthernetTypeIPv4),
			probe.IPv4(v4a, v4b, layers.IPProtocolUDP), probe.UDP(port, port), gopacket.Payload("IPv4"),
		}},
		{"ARP", "not_ipv6", []gopacket.SerializableLayer{
			probe.Ethernet(from.MAC, layers.EthernetBroadcast, layers.EthernetTypeARP),
			&layers.ARP{
				AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, Operation: layers.ARPRequest,
				HwAddressSize: 6, ProtAddressSize: 4,
				SourceHwAddress: from.MAC, SourceProtAddress: v4a.AsSlice(),
				DstHwAddress: make([]byte, 6), DstProtAddress: v4b.AsSlice(),
			},
		}},
		{"VLAN tag", "vlan", []gopacket.SerializableLayer{
			probe.Ethernet(from.MAC, to, layers.EthernetTypeDot1Q),
			&layers.Dot1Q{VLANIdentifier: 7, Type: layers.EthernetTypeIPv6},
			probe.IPv6(from.Address, s.Victim.Address, layers.IPProtocolUDP), probe.UDP(port, port), gopacket.Payload("VLAN"),
		}},
	}
}

// upper is what a packet carries above IP, or a frame above Ethernet where it
// holds no IP: no hop on the way changes it.
func upper(p gopacket.Packet) []byte {
	if ip := p.NetworkLayer(); ip != nil {
		return ip.LayerPayload()
	}
	if eth := p.LinkLayer(); eth != nil {
		return eth.LayerPayload()
	}
	return p.Data()
}

// unassigned is an address of the same /64 that no plan gives out.
func unassigned(a netip.Addr) netip.Addr {
	b := a.As16()
	copy(b[8:], []byte{0xba, 0xd0, 0, 0, 0, 0, 0xba, 0xd0})
	return netip.AddrFrom16(b)
}

// linkLocal is the address that a MAC forms by itself (RFC 4291, appendix A).
func linkLocal(mac net.HardwareAddr) netip.Addr {
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: mac[0] ^ 2, 9: mac[1], 10: mac[2], 11: 0xff, 12: 0xfe, 13: mac[3], 14: mac[4], 15: mac[5]})
}
