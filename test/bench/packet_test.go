package bench

import (
	"net"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/zosnet/zosnet/pkg/maps"
	"github.com/zosnet/zosnet/test/probe"
)

// packet is a frame and where it comes in.
type packet struct {
	frame   []byte
	ifindex uint32
	mark    uint32
	sport   uint16
	smac    net.HardwareAddr
	dmac    net.HardwareAddr
}

func (p packet) context() benchContext {
	return benchContext{Mark: p.mark, Ifindex: p.ifindex}
}

// place is where one side of a flow sends from.
type place struct {
	address netip.Addr
	in      link // the interface that its packets come in by
	mac     net.HardwareAddr
}

func (n *node) clientPlace() place {
	return place{hostIn(ownNetwork, clientHost), n.client, n.client.mac}
}
func (n *node) serverPlace() place {
	return place{hostIn(ownNetwork, serverHost), n.server, n.server.mac}
}
func (n *node) otherPlace() place {
	return place{hostIn(otherNetwork, otherHost), n.other, n.other.mac}
}
func (n *node) world() place { return place{strangerAddress, n.uplink, routerMAC} }
func (n *node) host() place  { return place{nodeAddress, n.uplink, n.uplink.mac} }

const firstPort = 1024 // of flows that take turns, so that 64,000 have room

// udp is a frame of 64 bytes.
func udp(b *testing.B, from, to place, sport, dport uint16) packet {
	b.Helper()
	return build(b, from, to, layers.IPProtocolUDP, sport, probe.UDP(sport, dport), gopacket.Payload{0, 0})
}

// tcp is a frame without payload.
func tcp(b *testing.B, from, to place, sport, dport uint16, flags func(*layers.TCP)) packet {
	b.Helper()
	header := probe.SYN(sport, dport)
	header.SYN = false
	flags(header)
	return build(b, from, to, layers.IPProtocolTCP, sport, header)
}

func build(b *testing.B, from, to place, proto layers.IPProtocol, sport uint16, rest ...gopacket.SerializableLayer) packet {
	b.Helper()
	dmac := to.mac
	if from.in.index == to.in.index {
		dmac = gatewayMAC
	}
	frame, err := probe.Frame(append([]gopacket.SerializableLayer{
		probe.Ethernet(from.mac, dmac, layers.EthernetTypeIPv6), probe.IPv6(from.address, to.address, proto),
	}, rest...)...)
	check(b, err)
	return packet{frame: frame, ifindex: from.in.index, sport: sport, smac: from.mac, dmac: dmac}
}

func marked(p packet, network uint32) packet {
	p.mark = maps.MarkJudged | network
	return p
}
