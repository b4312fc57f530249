package stranger

import (
	"net"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

func example() *Stranger {
	return &Stranger{link: Link{
		GuestMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2},
		Guest4:   netip.MustParseAddr("192.0.2.10"), Guest6: netip.MustParseAddr("2001:db8:1::10"),
		Stranger4: netip.MustParseAddr("192.0.2.1"), Stranger6: netip.MustParseAddr("2001:db8:1::1"),
	}}
}

// What counts as an answer: everything but what a host says on its link by itself.
func TestAnswer(t *testing.T) {
	s := example()
	ip4, eth4 := s.ipv4(layers.IPProtocolTCP)
	tcp := &layers.TCP{SrcPort: 22, DstPort: 30000, SYN: true, ACK: true}
	_ = tcp.SetNetworkLayerForChecksum(ip4)
	reset := &layers.TCP{SrcPort: 80, RST: true}
	_ = reset.SetNetworkLayerForChecksum(ip4)
	echo4, ethEcho := s.ipv4(layers.IPProtocolICMPv4)
	for _, c := range []struct {
		name  string
		frame []byte
		want  string
	}{
		{"an open port", serialize(eth4, ip4, tcp), "IPv4 TCP SYN-ACK from port 22"},
		{"a closed port", serialize(eth4, ip4, reset), "IPv4 TCP reset from port 80"},
		{"a ping's answer", serialize(ethEcho, echo4, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(0, 0)}), "IPv4 ICMP EchoReply"},
		{"ARP", s.arp(layers.ARPReply), ""},
		{"neighbour discovery", s.advertise(), ""},
	} {
		if got := s.answer(c.frame); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// Every door is a frame that its receiver can read.
func TestDoors(t *testing.T) {
	frames := example().doors(30000)
	if len(frames) != 2+2*len(ports)+2+2 {
		t.Errorf("%d frames", len(frames))
	}
	for i, frame := range frames {
		packet := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
		if layer := packet.ErrorLayer(); layer != nil {
			t.Errorf("frame %d: %v", i, layer.Error())
		}
	}
}

// A guest that asks for the stranger's link-layer address is told.
func TestCourtesy(t *testing.T) {
	s := example()
	other := &Stranger{link: Link{
		GuestMAC: s.link.GuestMAC, Guest4: s.link.Stranger4, Guest6: s.link.Stranger6,
		Stranger4: s.link.Guest4, Stranger6: s.link.Guest6,
	}}
	for name, question := range map[string][]byte{"ARP": other.arp(layers.ARPRequest), "ND": other.solicit()} {
		if s.courtesy(question) == nil {
			t.Errorf("%s: no reply", name)
		}
	}
	if s.courtesy(s.arp(layers.ARPRequest)) != nil {
		t.Error("a question for another's address was answered")
	}
}
