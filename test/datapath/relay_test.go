package datapath

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/maps"
)

// Workloads on two nodes that meet at a third one.
var (
	farWeb = netip.MustParseAddr("2001:db8:cccc:1::100")
	farDB  = netip.MustParseAddr("2001:db8:bbbb:1::100")
	dbGate = netip.MustParseAddr("2001:db8:bbbb:1::1")
)

// newRelay makes a node of acme that is between farWeb and farDB.
func newRelay(t *testing.T) *member {
	t.Helper()
	n := newMember(t, "n1", netip.MustParsePrefix("2001:db8:aaaa::/48"), overlayMTU)
	n.route(netip.PrefixFrom(farWeb, 64).Masked())
	n.route(netip.PrefixFrom(farDB, 64).Masked())
	n.apply(spanning)
	n.bindFar(n.overlay)
	n.setRelay(1)
	return n
}

// bindFar says which interface the others are behind.
func (n *member) bindFar(overlay uint32) {
	n.t.Helper()
	_, err := n.datapath.Maps().SetBindings(acme, map[maps.BindingKey]maps.Binding{
		maps.BindingOf(n.address, acme): {Network: acme, Service: n.service(), Workload: 1, Ifindex: n.port, Kind: maps.PortVeth, Mac: workloadMAC},
		maps.BindingOf(farWeb, acme):    {Network: acme, Service: serviceWeb, Ifindex: overlay, Kind: maps.PortOverlay},
		maps.BindingOf(farDB, acme):     {Network: acme, Service: serviceDB, Ifindex: overlay, Kind: maps.PortOverlay},
	})
	must(n.t, err)
}

func (n *member) setRelay(relay uint32) {
	n.t.Helper()
	must(n.t, n.datapath.Maps().PutOverlay(n.overlay, maps.Overlay{Network: acme, Relay: relay}))
}

// comesOut waits for a packet on an overlay.
func comesOut(t *testing.T, tun *os.File, what string, match func(p []byte) bool) []byte {
	t.Helper()
	must(t, tun.SetReadDeadline(time.Now().Add(10*time.Second)))
	buffer := make([]byte, 65536)
	for {
		n, err := tun.Read(buffer)
		if err != nil {
			t.Fatalf("%s does not come out: %v", what, err)
		}
		if match(buffer[:n]) {
			return bytes.Clone(buffer[:n])
		}
	}
}

// relays writes a packet into an overlay and wants it back, a hop further.
func (n *member) relays(what string, packet []byte) {
	n.t.Helper()
	_, err := n.tun.Write(packet)
	must(n.t, err)
	want := bytes.Clone(packet)
	want[7]--
	comesOut(n.t, n.tun, what, func(p []byte) bool { return bytes.Equal(p, want) })
}

// answers writes a packet into an overlay and wants an ICMPv6 error of the node's
// gateway to its source.
func (n *member) answers(what string, packet []byte, kind uint8) []byte {
	n.t.Helper()
	return n.answersOver(n.tun, what, packet, kind)
}

// answersOver is answers for any interface, and any message of the gateway's.
func (n *member) answersOver(tun *os.File, what string, packet []byte, kind uint8) []byte {
	n.t.Helper()
	_, err := tun.Write(packet)
	must(n.t, err)
	gateway, source := n.gateway().As16(), packet[8:24]
	return comesOut(n.t, tun, what, func(p []byte) bool {
		return len(p) >= 48 && p[6] == unix.IPPROTO_ICMPV6 && p[40] == kind && bytes.Equal(p[8:24], gateway[:]) && bytes.Equal(p[24:40], source)
	})
}

func (f frame) with(payload []byte) frame {
	f.layers = append(f.layers[:len(f.layers):len(f.layers)], gopacket.Payload(payload))
	return f
}

// Where two nodes meet at a third one, it judges their flows as any, counts their
// hops, says what is too big, and fits what they begin to the overlay.
func TestNodesMeetAtARelay(t *testing.T) {
	n := newRelay(t)
	n.relays("web's datagram", bare(t, udp(farWeb, farDB, 1000, 53)))
	n.relays("db's answer", bare(t, udp(farDB, farWeb, 53, 1000)))
	n.relays("web's next", bare(t, udp(farWeb, farDB, 1000, 53)))
	dropsOne(t, n, "policy_inside", "what no rule allows", func() {
		_, err := n.tun.Write(bare(t, udp(farDB, farWeb, 1000, 53)))
		must(t, err)
	})
	dropsOne(t, n, "spoofed_address", "to where it comes from", func() {
		_, err := n.tun.Write(bare(t, udp(farDB, farDB, 1, 7)))
		must(t, err)
	})
	dropsOne(t, n, "spoofed_address", "in the name of this node's workload", func() {
		_, err := n.tun.Write(bare(t, udp(n.address, farDB, 1000, 53)))
		must(t, err)
	})

	sent := bare(t, udp(farWeb, farDB, 1000, 53))
	n.answers("that its hops are used up", bare(t, udp(farWeb, farDB, 1000, 53).hops(1)), 3)
	big := n.answers("that it is too big", bare(t, udp(farWeb, farDB, 1000, 53).with(make([]byte, overlayMTU))), 2)
	if mtu := binary.BigEndian.Uint32(big[44:]); mtu != overlayMTU {
		t.Errorf("the gateway says too big for %d, expected %d", mtu, overlayMTU)
	}
	tooBig := icmp(dbGate, farWeb, 2, 0, append([]byte{0, 0, 5, 0}, sent...)...)
	n.relays("that the next node finds it too big", bare(t, tooBig))
	dropsOne(t, n, "icmp_unrelated", "an error about nothing", func() {
		other := bare(t, udp(farWeb, farDB, 1001, 53))
		_, err := n.tun.Write(bare(t, icmp(dbGate, farWeb, 2, 0, append([]byte{0, 0, 5, 0}, other...)...)))
		must(t, err)
	})

	syn := tcp(farWeb, farDB, 2000, 80, "S", 1, 0)
	syn.layers[0].(*layers.TCP).Options = []layers.TCPOption{{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{0x05, 0xb4}}}
	_, err := n.tun.Write(bare(t, syn))
	must(t, err)
	out := comesOut(t, n.tun, "a SYN", func(p []byte) bool { return isSYN(p, false) })
	if size := synSize(out); size != overlayMTU-60 {
		t.Errorf("the SYN announces %d, expected %d", size, overlayMTU-60)
	}
}

// Who is no relay carries nothing from one node to another, nor goes on with what it
// has carried.
func TestOnlyARelayCarriesOn(t *testing.T) {
	n := newRelay(t)
	packet := bare(t, udp(farWeb, farDB, 1000, 53))
	n.relays("web's datagram", packet)
	n.setRelay(0)
	n.apply(spanning)
	dropsOne(t, n, "no_route", "web's next", func() {
		_, err := n.tun.Write(packet)
		must(t, err)
	})
	dropsOne(t, n, "no_route", "a new flow", func() {
		_, err := n.tun.Write(bare(t, udp(farWeb, farDB, 1001, 53)))
		must(t, err)
	})
}

// While keys are changed a network has two overlays: what comes by either is taken,
// new flows and old ones and errors, and what goes leaves by the one that its
// receiver is behind.
func TestTwoOverlaysOfANetwork(t *testing.T) {
	n := newRelay(t)
	next, index := n.openOverlay("zwacme2", overlayMTU)
	must(t, n.datapath.Maps().PutOverlay(index, maps.Overlay{Network: acme}))
	must(t, n.host.Do(func() error {
		_, err := n.datapath.AttachOverlay("zwacme2")
		return err
	}))
	web := n.datagrams(7)
	say := func(text string) {
		t.Helper()
		_, err := web.WriteToUDPAddrPort([]byte(text), netip.AddrPortFrom(farDB, 53))
		must(t, err)
	}
	says := func(text string) func([]byte) bool {
		return func(p []byte) bool { return bytes.HasSuffix(p, []byte(text)) }
	}
	hear := func(tun *os.File, text string) {
		t.Helper()
		answer := udp(farDB, n.address, 53, 7)
		answer.layers[1] = gopacket.Payload(text)
		_, err := tun.Write(bare(t, answer))
		must(t, err)
		hears(t, web, text, []byte(text))
	}
	say("by the old one")
	comesOut(t, n.tun, "web's datagram", says("by the old one"))
	hear(n.tun, "the answer by the old one")
	hear(next, "the answer by the new one")

	n.overlay = index
	n.route(netip.PrefixFrom(farDB, 64).Masked())
	n.bindFar(index)
	n.apply(spanning) // judged again
	say("by the new one")
	sent := comesOut(t, next, "web's next", says("by the new one"))
	hear(n.tun, "another answer by the old one")
	hear(next, "another answer by the new one")

	listener, err := n.listenICMP()
	must(t, err)
	_, err = n.tun.Write(bare(t, icmp(dbGate, n.address, 2, 0, append([]byte{0, 0, 5, 0}, sent...)...)))
	must(t, err)
	if from, mtu := awaitICMP(t, listener, 2); from != dbGate || mtu != 1280 {
		t.Errorf("%s says too big for %d, expected %s and 1280", from, mtu, dbGate)
	}
}
