package datapath

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/zosnet/zosnet/pkg/maps"
)

func TestAPingOpensNoWayForPingsBack(t *testing.T) {
	m := newMachine(t, plain, plainGlobex)
	web := m.web.address
	ping := func(src, dst netip.Addr) frame { return icmp(src, dst, 128, 0, 0, 7, 0, 1) }
	pong := func(src, dst netip.Addr) frame { return icmp(src, dst, 129, 0, 0, 7, 0, 1) }
	m.sent(m.web, "redirect", "a workload's ping", ping(web, world))
	m.arrives("redirect", "its answer", pong(world, web))
	m.arrives("policy_inbound", "a stranger's ping with the same identifier", ping(world, web))
	m.arrives("redirect", "the answer to the workload's next ping", pong(world, web))
}

// What goes to the kernel for an answer of its own is for nobody else, whatever
// MAC it is sent to: the bridge would hand it to a neighbour, past the rules.
func TestWhatTheKernelAnswersReachesNoNeighbour(t *testing.T) {
	m := newMachine(t, plain, openGlobex)
	web := m.web.address
	big := tcp(web, m.db.address, 4000, 5432, "S", 1, 0)
	big.layers = append(big.layers, gopacket.SerializableLayer(payload(2000)))
	for what, f := range map[string]frame{
		"a ping to the gateway":                     icmp(web, gateway(acme), 128, 0, 0, 7, 0, 1),
		"to the world, at its last hop":             udp(web, world, 5, 6).hops(1),
		"to another network, at its last hop":       udp(web, m.api.address, 5, 6).hops(1),
		"to a third workload, too big for the link": big,
	} {
		m.sent(m.web, "pass", what, f.from(m.web.mac, m.vm.mac))
		if m.mark != 0 {
			t.Errorf("%s: mark %#x, expected none: it would open a neighbour's interface", what, m.mark)
		}
	}
}

const openGlobex = `
network: globex
nodes: [n1]
services: {api: {ports: [tcp/80]}}
rules:
  - allow: {from: any, to: any}
`

// A first fragment's transport header may lie behind options that are part of the
// fragmented packet; what comes later must not reach into it there either.
func TestNoFragmentReachesIntoATransportHeaderBehindOptions(t *testing.T) {
	m := newMachine(t, plain, plainGlobex)
	big := udp(world, m.web.address, 999, 53)
	big.layers = append(big.layers[:1], payload(400))
	data := big.from(routerMAC, maps.MAC{}).bytes(t)
	options := make([]byte, 96)
	options[0], options[1], options[2], options[3] = 17, 11, 1, 92 // next UDP, 96 octets, PadN
	data = withHeaders(data, 60, options...)
	in := func(what, want string, data []byte) {
		t.Helper()
		m.wantBytes(what, want, "uplink_ingress", m.uplink, data)
	}
	in("the first", "redirect", fragment(data, 7, 0, 208, true))
	in("one that reaches into its transport header", "fragment_overlap", fragment(data, 7, 96, 208, true))
	in("the later", "redirect", fragment(data, 7, 208, 504, false))
}

// A middle that believes a blind RST forgets the connection, and the ends do not.
func TestABlindRSTOrFINFromOutsideEndsNothing(t *testing.T) {
	m := newMachine(t, plain, plainGlobex)
	web := m.web.address
	m.sent(m.web, "redirect", "SYN", tcp(web, world, 4000, 443, "S", 100, 0))
	m.arrives("redirect", "SYN-ACK", tcp(world, web, 443, 4000, "SA", 500, 101))
	m.sent(m.web, "redirect", "ACK", tcp(web, world, 4000, 443, "A", 101, 501))
	m.flow("established", true)
	m.arrives("redirect", "a RST of a number far away", tcp(world, web, 443, 4000, "R", 900_000_000, 0))
	m.flow("established", true)
	m.arrives("redirect", "a FIN of a number far away", tcp(world, web, 443, 4000, "FA", 900_000_000, 101))
	m.flow("established", true)
	m.arrives("redirect", "the other end's FIN", tcp(world, web, 443, 4000, "FA", 501, 101))
	m.flow("closing", true)
	m.arrives("redirect", "the other end's RST", tcp(world, web, 443, 4000, "R", 502, 0))
	m.flow("closed", true)
}

// 64:ff9b::/96 (RFC 6052) is how IPv6 reaches IPv4; the rest of ::/32 is nobody's.
func TestTheWorldBehindNAT64(t *testing.T) {
	m := newMachine(t, plain, plainGlobex)
	web := m.web.address
	nat64 := netip.MustParseAddr("64:ff9b::c000:20a")
	m.sent(m.web, "redirect", "to an IPv4 host", tcp(web, nat64, 4000, 443, "S", 1, 0))
	m.arrives("redirect", "its answer", tcp(nat64, web, 443, 4000, "SA", 1, 2))
	for _, a := range []string{"::ffff:192.0.2.10", "::192.0.2.10", "::1"} {
		m.sent(m.web, "no_route", "to "+a, tcp(web, netip.MustParseAddr(a), 4000, 443, "S", 1, 0))
		m.arrives("spoofed_address", "from "+a, tcp(netip.MustParseAddr(a), web, 4000, 80, "S", 1, 0))
	}
}

// withTag gives a frame a tag.
func withTag(data []byte, kind, control uint16) []byte {
	tagged := binary.BigEndian.AppendUint16(append([]byte{}, data[:12]...), kind)
	return append(binary.BigEndian.AppendUint16(tagged, control), data[12:]...)
}

// An uplink leaves to a VLAN interface on it exactly the frames that the kernel gives
// to that one, and only while it is an uplink itself.
func TestAnUplinkLeavesFramesToItsVLANs(t *testing.T) {
	const vlan5 = 1000 // ifindex
	m := newMachine(t, plain, plainGlobex)
	other := m.veth("up1")
	must(t, m.maps.PutUplink(other, nil))
	must(t, m.maps.PutUplink(m.uplink, maps.UplinkVLANs{{Type: 0x8100, ID: 5}: vlan5}))
	data := tcp(world, netip.MustParseAddr(hostAddress), 1, 22, "S", 1, 0).from(routerMAC, maps.MAC{}).bytes(t)
	at := func(want, what string, uplink uint32, kind, control uint16) {
		t.Helper()
		m.wantBytes(what, want, "uplink_ingress", uplink, withTag(data, kind, control))
	}
	at("pass", "VLAN 5", m.uplink, 0x8100, 5)
	at("pass", "VLAN 5 with a priority", m.uplink, 0x8100, 3<<13|5)
	at("lockdown", "VLAN 6, which is no uplink", m.uplink, 0x8100, 6)
	at("lockdown", "VLAN 5 of another type of tag", m.uplink, 0x88a8, 5)
	at("lockdown", "VLAN 5 on another card", other, 0x8100, 5)
	// VLAN 0 only says a priority (IEEE 802.1Q, 9.6): to the kernel it is no VLAN.
	at("lockdown", "priority 3 of no VLAN", m.uplink, 0x8100, 3<<13)
	at("lockdown", "priority 0 of no VLAN", m.uplink, 0x8100, 0)
	must(t, m.maps.DeleteUplink(vlan5))
	at("lockdown", "VLAN 5, whose interface is gone", m.uplink, 0x8100, 5)
}

// An answer proves nothing about who asked: one who forges his address does not see
// it. Only flows that go on after it count as established.
func TestAFloodOfQuestionsLeavesExchangesAlone(t *testing.T) {
	m := newMachine(t, plain, plainGlobex)
	web := m.web.address
	m.arrives("redirect", "a question", udp(world, web, 999, 53))
	m.sent(m.web, "redirect", "its answer", udp(web, world, 53, 999))
	m.flow("answered", false)
	m.arrives("redirect", "the next question", udp(world, web, 999, 53))
	m.flow("established", true)
	for i := range 1000 {
		stranger := netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0xbb, 14: byte(i >> 8), 15: byte(i)})
		m.step("uplink_ingress", m.uplink, udp(stranger, web, 1, 53).from(routerMAC, maps.MAC{}).bytes(t))
		m.step("workload_egress", m.web.ifindex, udp(web, stranger, 53, 1).from(m.web.mac, gatewayMAC).bytes(t))
	}
	m.apply(acme, strings.Replace(plain, "expose:", "default: {inbound: deny, outbound: deny}\nexpose:", 1))
	m.sent(m.web, "redirect", "an answer to the first who asked", udp(web, world, 53, 999))
}

// Some switches tag every frame with a priority. A tenant's packets are none the less
// its own, and arrive without.
func TestPriorityTagsAreTakenOff(t *testing.T) {
	m := newMachine(t, plain, plainGlobex)
	data := tcp(world, m.web.address, 4000, 80, "S", 1, 0).from(routerMAC, maps.MAC{}).bytes(t)
	tagged := func(tags ...byte) []byte {
		return append(append(append([]byte{}, data[:12]...), tags...), data[12:]...)
	}
	m.wantBytes("of VLAN 5", "vlan", "uplink_ingress", m.uplink, tagged(0x81, 0, 0, 5))
	m.wantBytes("with a priority and of VLAN 5", "vlan", "uplink_ingress", m.uplink, tagged(0x81, 0, 0x60, 0, 0x81, 0, 0, 5))
	for what, want := range map[string]string{"a SYN": "redirect", "its repetition": "redirect"} {
		out := m.wantBytes(what+" with a priority", want, "uplink_ingress", m.uplink, tagged(0x81, 0, 0x60, 0))
		if len(out) != len(data) || out[12] != 0x86 || out[21] != 63 {
			t.Errorf("%s: arrives as % x", what, out)
		}
	}
}

// Segments are as long as their own headers and what each carries: a link's MTU is
// for them, not for the packet that they are cut from.
func TestSegmentsAreMeasuredWithTheirOwnHeaders(t *testing.T) {
	m := newMachine(t, plain, openGlobex)
	web, api := m.web.address, m.api.address
	datagrams := udp(web, api, 1, 2)
	datagrams.layers = append(datagrams.layers[:1], payload(2000))
	stream := tcp(web, api, 1, 80, "S", 1, 0)
	stream.layers[0].(*layers.TCP).Options = []layers.TCPOption{{OptionType: layers.TCPOptionKindTimestamps, OptionLength: 10, OptionData: make([]byte, 8)}}
	stream.layers = append(stream.layers, gopacket.SerializableLayer(payload(2000)))
	const mtu, ipv6, udpHeader, tcpHeader = 1500, 40, 8, 20 + 12
	for _, row := range []struct {
		what, want string
		f          frame
		segment    uint32
	}{
		{"datagrams that just fit", "redirect", datagrams, mtu - ipv6 - udpHeader},
		{"datagrams a byte too long", "pass", datagrams, mtu - ipv6 - udpHeader + 1},
		{"a stream with options that just fits", "redirect", stream, mtu - ipv6 - tcpHeader},
		{"a stream with options a byte too long", "pass", stream, mtu - ipv6 - tcpHeader + 1},
		{"not cut at all", "pass", datagrams, 0},
	} {
		m.segment = row.segment
		m.sent(m.web, row.want, row.what, row.f)
	}
}
