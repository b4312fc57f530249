package policy_test

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/zosnet/zosnet/pkg/policy"
	"github.com/zosnet/zosnet/pkg/spec"
)

const (
	web1, web2, db1, api1 = "2001:db8:100:1::a1", "2001:db8:100:1::a2", "2001:db8:100:1::d1", "2001:db8:100:2::b1"
	stranger              = "2001:db8:77::1"
)

// A frame is made of layers; from is the MAC of port 1 (web-1) unless said
// otherwise.
func frame(t testing.TB, list ...gopacket.SerializableLayer) []byte {
	t.Helper()
	buffer := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true}, list...); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

func mac(port byte) net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, 0, port} }

func ethernet(port byte, kind layers.EthernetType) *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: mac(port), DstMAC: net.HardwareAddr{2, 0xee, 0, 0, 0, 1}, EthernetType: kind}
}

func ipv6(source, dest string, next layers.IPProtocol) *layers.IPv6 {
	return &layers.IPv6{
		Version: 6, SrcIP: net.ParseIP(source), DstIP: net.ParseIP(dest), NextHeader: next, HopLimit: 64,
	}
}

func withHops(ip *layers.IPv6, hops uint8) *layers.IPv6 {
	ip.HopLimit = hops
	return ip
}

func syn(port uint16) *layers.TCP {
	return &layers.TCP{SrcPort: 40000, DstPort: layers.TCPPort(port), SYN: true}
}

func icmp(kind uint8) *layers.ICMPv6 {
	return &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(kind, 0)}
}

// fragment is RFC 8200's header; the offset counts 8 bytes.
func fragment(next layers.IPProtocol, offset uint16, more bool) gopacket.Payload {
	b := []byte{byte(next), 0, 0, 0, 0xde, 0xad, 0xbe, 0xef}
	field := offset << 3
	if more {
		field |= 1
	}
	binary.BigEndian.PutUint16(b[2:], field)
	return b
}

// extension is a header of 8 bytes and of that many more.
func extension(next layers.IPProtocol, more byte) gopacket.Payload {
	return append([]byte{byte(next), more}, make([]byte, 6+8*int(more))...)
}

// routing is a routing header with segments left.
func routing(next layers.IPProtocol, left byte) gopacket.Payload {
	return []byte{byte(next), 0, 2, left, 0, 0, 0, 0}
}

// nd is the body of a message about a target, with the option of a port's MAC.
func nd(target string, option byte, port byte) gopacket.Payload {
	b := append(make([]byte, 4), net.ParseIP(target).To16()...)
	return append(append(b, option, 1), mac(port)...)
}

// Each row is a frame that port 1 (web-1) sends, and what becomes of it.
func TestEvaluateWorkload(t *testing.T) {
	const ip = layers.EthernetTypeIPv6
	const tcp, udp, icmp6, frag, dstopts, hopopts = layers.IPProtocolTCP, layers.IPProtocolUDP, layers.IPProtocolICMPv6,
		layers.IPProtocolIPv6Fragment, layers.IPProtocolIPv6Destination, layers.IPProtocolIPv6HopByHop
	const routingHeader = layers.IPProtocolIPv6Routing
	list := func(l ...gopacket.SerializableLayer) []gopacket.SerializableLayer { return l }
	echo := gopacket.Payload{0, 7, 0, 1}
	for _, c := range []struct {
		means string
		frame []gopacket.SerializableLayer
		want  string
	}{
		{"a SYN goes to its workload", list(ethernet(1, ip), ipv6(web1, db1, tcp), syn(5432)), "workload default.inside"},
		{"or into the world", list(ethernet(1, ip), ipv6(web1, stranger, tcp), syn(80)), "world default.outbound"},
		{"link-local between workloads is judged like global", list(ethernet(1, ip), ipv6("fe80::1:0:0:0", "fe80::3", tcp), syn(23)), "drop unknown_identity"},
		{"and allowed by the same entries", list(ethernet(1, ip), ipv6("fe80::1", "fe80::3", tcp), syn(5432)), "workload default.inside"},
		{"and denied by them", list(ethernet(1, ip), ipv6("fe80::1", "fe80::3", tcp), syn(23)), "drop policy_inside rules[0]"},
		{"a link-local source stays on its link", list(ethernet(1, ip), ipv6("fe80::1", stranger, tcp), syn(80)), "drop no_route"},
		{"also to the other network", list(ethernet(1, ip), ipv6("fe80::1", api1, tcp), syn(80)), "drop no_route"},
		{"another network's workload asks both", list(ethernet(1, ip), ipv6(web1, api1, tcp), syn(8080)), "workload default.outbound default.inbound"},
		{"a rule that denies says so", list(ethernet(1, ip), ipv6(web1, db1, tcp), syn(23)), "drop policy_inside rules[0]"},
		{"no route leads there", list(ethernet(1, ip), ipv6(web1, "2600::1", tcp), syn(80)), "drop no_route default.outbound"},
		{"loopback is nowhere", list(ethernet(1, ip), ipv6(web1, "::1", tcp), syn(80)), "drop no_route"},
		{"the host's own address", list(ethernet(1, ip), ipv6(web1, "2001:db8:9::9", tcp), syn(22)), "drop host default.outbound"},
		{"a hop limit that is used up goes to the stack, which says so", list(ethernet(1, ip), withHops(ipv6(web1, stranger, tcp), 1), syn(80)), "stack default.outbound"},
		{"inside, hop limits do not count", list(ethernet(1, ip), withHops(ipv6(web1, db1, tcp), 1), syn(5432)), "workload default.inside"},
		{"what does not fit goes to the stack, which says so", list(ethernet(1, ip), ipv6(web1, api1, tcp), syn(8080), gopacket.Payload(make([]byte, 1341))), "stack default.outbound default.inbound"},
		{"to the byte", list(ethernet(1, ip), ipv6(web1, api1, tcp), syn(8080), gopacket.Payload(make([]byte, 1340))), "workload default.outbound default.inbound"},

		{"a tag belongs nowhere", list(ethernet(1, layers.EthernetTypeDot1Q), &layers.Dot1Q{Type: ip}, ipv6(web1, db1, tcp), syn(5432)), "drop vlan"},
		{"three tags neither", list(ethernet(1, layers.EthernetTypeQinQ), &layers.Dot1Q{Type: layers.EthernetTypeQinQ}, &layers.Dot1Q{Type: layers.EthernetTypeQinQ}, &layers.Dot1Q{Type: ip}, ipv6(web1, db1, tcp), syn(5432)), "drop vlan"},
		{"the MAC is the workload's", list(ethernet(2, ip), ipv6(web1, db1, tcp), syn(5432)), "drop spoofed_mac"},
		{"networks are IPv6 only inside", list(ethernet(1, layers.EthernetTypeIPv4), &layers.IPv4{Version: 4, SrcIP: net.IP{10, 0, 0, 1}, DstIP: net.IP{10, 0, 0, 2}, Protocol: udp}, &layers.UDP{}), "drop not_ipv6"},
		{"without ARP", list(ethernet(1, layers.EthernetTypeARP), gopacket.Payload(make([]byte, 28))), "drop not_ipv6"},
		{"the source is the workload's", list(ethernet(1, ip), ipv6(web2, db1, tcp), syn(5432)), "drop spoofed_address"},
		{"not another network's", list(ethernet(1, ip), ipv6(api1, db1, tcp), syn(5432)), "drop spoofed_address"},
		{"not the gateway's", list(ethernet(1, ip), ipv6("2001:db8:100:1::1", db1, tcp), syn(5432)), "drop spoofed_address"},
		{"not a stranger's", list(ethernet(1, ip), ipv6(stranger, db1, tcp), syn(5432)), "drop spoofed_address"},
		{"one of the network that nobody has", list(ethernet(1, ip), ipv6("2001:db8:100:1::99", db1, tcp), syn(5432)), "drop unknown_identity"},
		{"it does not send to itself", list(ethernet(1, ip), ipv6(web1, web1, tcp), syn(80)), "drop spoofed_address"},

		{"a SYN that also ends", list(ethernet(1, ip), ipv6(web1, db1, tcp), &layers.TCP{DstPort: 80, SYN: true, FIN: true}), "drop tcp_flags"},
		{"no flag at all", list(ethernet(1, ip), ipv6(web1, db1, tcp), &layers.TCP{DstPort: 80}), "drop tcp_flags"},
		{"all at once", list(ethernet(1, ip), ipv6(web1, db1, tcp), &layers.TCP{DstPort: 80, FIN: true, PSH: true, URG: true}), "drop tcp_flags"},
		{"an answer to no SYN", list(ethernet(1, ip), ipv6(web1, db1, tcp), &layers.TCP{DstPort: 80, SYN: true, ACK: true}), "drop tcp_state"},
		{"a reset of nothing", list(ethernet(1, ip), ipv6(web1, db1, tcp), &layers.TCP{DstPort: 80, RST: true, ACK: true}), "drop tcp_state"},
		{"picked up in the middle, where rules allow it to start", list(ethernet(1, ip), ipv6(web1, db1, tcp), &layers.TCP{DstPort: 5432, ACK: true}), "workload default.inside"},
		{"and not where they do not", list(ethernet(1, ip), ipv6(web1, db1, tcp), &layers.TCP{DstPort: 23, ACK: true}), "drop policy_inside rules[0]"},

		{"echo is judged by its type", list(ethernet(1, ip), ipv6(web1, db1, icmp6), icmp(128), echo), "drop policy_inside rules[1]"},
		{"the gateway answers it", list(ethernet(1, ip), ipv6(web1, "2001:db8:100:1::1", icmp6), icmp(128), echo), "stack"},
		{"a reply to no query", list(ethernet(1, ip), ipv6(web1, db1, icmp6), icmp(129), echo), "drop icmp_no_query"},
		{"an error about no flow", list(ethernet(1, ip), ipv6(web1, db1, icmp6), icmp(2), gopacket.Payload(make([]byte, 60))), "drop icmp_unrelated"},
		{"multicast is dropped", list(ethernet(1, ip), ipv6(web1, "ff02::fb", udp), &layers.UDP{SrcPort: 5353, DstPort: 5353}), "drop multicast"},
		{"a DHCPv6 server", list(ethernet(1, ip), ipv6(web1, db1, udp), &layers.UDP{SrcPort: 547, DstPort: 546}), "drop dhcp_guard"},
		{"from whatever port", list(ethernet(1, ip), ipv6(web1, db1, udp), &layers.UDP{SrcPort: 1000, DstPort: 546}), "drop dhcp_guard"},

		{"a router advertisement", list(ethernet(1, ip), withHops(ipv6("fe80::1", "ff02::1", icmp6), 255), icmp(134), gopacket.Payload(make([]byte, 12))), "drop ra_guard"},
		{"a redirect", list(ethernet(1, ip), withHops(ipv6("fe80::1", "fe80::3", icmp6), 255), icmp(137), gopacket.Payload(make([]byte, 36))), "drop redirect_guard"},
		{"a solicitation", list(ethernet(1, ip), withHops(ipv6(web1, "ff02::1:ff00:d1", icmp6), 255), icmp(135), nd(db1, 1, 1)), "stack"},
		{"from further away", list(ethernet(1, ip), withHops(ipv6(web1, "ff02::1:ff00:d1", icmp6), 64), icmp(135), nd(db1, 1, 1)), "drop nd_guard"},
		{"that claims another's link-layer address", list(ethernet(1, ip), withHops(ipv6(web1, "ff02::1:ff00:d1", icmp6), 255), icmp(135), nd(db1, 1, 2)), "drop nd_guard"},
		{"that would leave the link", list(ethernet(1, ip), withHops(ipv6(web1, stranger, icmp6), 255), icmp(135), nd(db1, 1, 1)), "drop nd_guard"},
		{"an advertisement for itself", list(ethernet(1, ip), withHops(ipv6(web1, "ff02::1", icmp6), 255), icmp(136), nd(web1, 2, 1)), "stack"},
		{"for another", list(ethernet(1, ip), withHops(ipv6(web1, "ff02::1", icmp6), 255), icmp(136), nd(db1, 2, 1)), "drop nd_guard"},
		{"for the gateway", list(ethernet(1, ip), withHops(ipv6(web1, "ff02::1", icmp6), 255), icmp(136), nd("2001:db8:100:1::1", 2, 1)), "drop nd_guard"},
		{"in a fragment (RFC 6980)", list(ethernet(1, ip), withHops(ipv6(web1, "ff02::1", frag), 255), fragment(icmp6, 0, true), icmp(136), nd(web1, 2, 1)), "drop nd_guard"},
		{"DAD for an address of its own", list(ethernet(1, ip), withHops(ipv6("::", "ff02::1:ff00:a1", icmp6), 255), icmp(135), nd(web1, 14, 1)), "stack"},
		{"for another's", list(ethernet(1, ip), withHops(ipv6("::", "ff02::1:ff00:d1", icmp6), 255), icmp(135), nd(db1, 14, 1)), "drop address_taken"},
		{"for a new one, from a namespace", list(ethernet(1, ip), withHops(ipv6("::", "ff02::1:ff00:99", icmp6), 255), icmp(135), nd("2001:db8:100:1::99", 14, 1)), "drop unknown_identity"},
		{"a listener's report", list(ethernet(1, ip), withHops(ipv6("fe80::1", "ff02::16", icmp6), 1), icmp(143), gopacket.Payload(make([]byte, 4))), "stack"},
		{"a querier's", list(ethernet(1, ip), withHops(ipv6("fe80::1", "ff02::1", icmp6), 1), icmp(130), gopacket.Payload(make([]byte, 20))), "drop multicast"},

		{"options are passed over", list(ethernet(1, ip), ipv6(web1, db1, dstopts), extension(tcp, 2), syn(23)), "drop policy_inside rules[0]"},
		{"also several", list(ethernet(1, ip), ipv6(web1, db1, hopopts), extension(dstopts, 0), extension(tcp, 1), syn(5432)), "workload default.inside"},
		{"hop-by-hop options come first only", list(ethernet(1, ip), ipv6(web1, db1, dstopts), extension(hopopts, 0), extension(tcp, 0), syn(5432)), "drop extension_headers"},
		{"seven are too many", list(ethernet(1, ip), ipv6(web1, db1, dstopts), extension(dstopts, 0), extension(dstopts, 0), extension(dstopts, 0), extension(dstopts, 0), extension(dstopts, 0), extension(dstopts, 0), extension(tcp, 0), syn(5432)), "drop extension_headers"},
		{"too deep to be read", list(ethernet(1, ip), ipv6(web1, db1, dstopts), extension(tcp, 31), syn(5432)), "drop extension_headers"},
		{"a source route", list(ethernet(1, ip), ipv6(web1, db1, routingHeader), routing(tcp, 1), syn(5432)), "drop extension_headers"},
		{"one that has ended", list(ethernet(1, ip), ipv6(web1, db1, routingHeader), routing(tcp, 0), syn(5432)), "workload default.inside"},
		{"a first fragment is judged", list(ethernet(1, ip), ipv6(web1, db1, frag), fragment(tcp, 0, true), syn(23)), "drop policy_inside rules[0]"},
		{"an atomic one is an ordinary packet", list(ethernet(1, ip), ipv6(web1, db1, frag), fragment(tcp, 0, false), syn(5432)), "workload default.inside"},
		{"a later one without its first", list(ethernet(1, ip), ipv6(web1, db1, frag), fragment(tcp, 100, true), gopacket.Payload(make([]byte, 100))), "drop fragment_without_first"},
		{"one that reaches into the header", list(ethernet(1, ip), ipv6(web1, db1, frag), fragment(tcp, 1, true), gopacket.Payload(make([]byte, 100))), "drop fragment_overlap"},
		{"a fragment of a fragment", list(ethernet(1, ip), ipv6(web1, db1, frag), fragment(frag, 0, true), fragment(tcp, 0, true), syn(5432)), "drop extension_headers"},
		{"a protocol without ports", list(ethernet(1, ip), ipv6(web1, db1, layers.IPProtocolGRE), gopacket.Payload{0, 0}), "workload default.inside"},
		{"a header that is cut off", list(ethernet(1, ip), ipv6(web1, db1, tcp), gopacket.Payload(make([]byte, 19))), "drop malformed"},
		{"a UDP header that is cut off", list(ethernet(1, ip), ipv6(web1, db1, udp), gopacket.Payload(make([]byte, 7))), "drop malformed"},
	} {
		t.Run(c.means, func(t *testing.T) {
			w := node(t, "rules: [{deny: {from: web, to: db, ports: [tcp/23]}}, {deny: {from: web, to: db, ports: [icmpv6/echo-request]}}]", "default: {inbound: allow}")
			w.Bindings = slices.DeleteFunc(w.Bindings, func(b policy.Binding) bool {
				return b.Network == "globex" && b.Address.IsLinkLocalUnicast()
			})
			if got := outcome(w.Evaluate(policy.Ingress{Interface: 1}, frame(t, c.frame...))); got != c.want {
				t.Errorf("%s: %s, want %s", c.means, got, c.want)
			}
		})
	}
}

// Each row is a frame from the world.
func TestEvaluateUplink(t *testing.T) {
	const v6, v4, arp = layers.EthernetTypeIPv6, layers.EthernetTypeIPv4, layers.EthernetTypeARP
	const tcp, udp, icmp6, frag = layers.IPProtocolTCP, layers.IPProtocolUDP, layers.IPProtocolICMPv6, layers.IPProtocolIPv6Fragment
	const host = "2001:db8:9::9"
	list := func(l ...gopacket.SerializableLayer) []gopacket.SerializableLayer { return l }
	ipv4 := func(source string, proto layers.IPProtocol) *layers.IPv4 {
		return &layers.IPv4{Version: 4, SrcIP: net.ParseIP(source).To4(), DstIP: net.IP{192, 0, 2, 10}, Protocol: proto, TTL: 64}
	}
	for _, c := range []struct {
		means string
		frame []gopacket.SerializableLayer
		want  string
	}{
		{"an exposed port is reached", list(ethernet(9, v6), ipv6(stranger, web1, tcp), syn(443)), "workload expose[0]"},
		{"no other", list(ethernet(9, v6), ipv6(stranger, web1, tcp), syn(22)), "drop policy_inbound default.inbound"},
		{"an address that nobody has", list(ethernet(9, v6), ipv6(stranger, "2001:db8:100:1::99", tcp), syn(443)), "drop unassigned"},
		{"a used-up hop limit is told nobody", list(ethernet(9, v6), withHops(ipv6(stranger, web1, tcp), 1), syn(443)), "drop hop_limit expose[0]"},
		{"a tagged frame", list(ethernet(9, layers.EthernetTypeDot1Q), &layers.Dot1Q{VLANIdentifier: 5, Type: v6}, ipv6(stranger, web1, tcp), syn(443)), "drop vlan"},
		{"a frame tagged with a priority only", list(ethernet(9, layers.EthernetTypeDot1Q), &layers.Dot1Q{Priority: 3, Type: v6}, ipv6(stranger, web1, tcp), syn(443)), "workload expose[0]"},
		{"a tenant's address as source", list(ethernet(9, v6), ipv6(web2, web1, tcp), syn(443)), "drop spoofed_address"},
		{"the node's own", list(ethernet(9, v6), ipv6("2001:db8:100::1", web1, tcp), syn(443)), "drop spoofed_address"},
		{"a link-local one", list(ethernet(9, v6), ipv6("fe80::5", web1, tcp), syn(443)), "drop spoofed_address"},
		{"a mapped one", list(ethernet(9, v6), ipv6("::ffff:198.51.100.1", web1, tcp), syn(443)), "drop spoofed_address"},
		{"a router advertisement for a workload", list(ethernet(9, v6), withHops(ipv6(stranger, web1, icmp6), 255), icmp(134), gopacket.Payload(make([]byte, 12))), "drop nd_guard"},
		{"an error about no flow", list(ethernet(9, v6), ipv6(stranger, web1, icmp6), icmp(1), gopacket.Payload(make([]byte, 60))), "drop icmp_unrelated"},
		{"a later fragment", list(ethernet(9, v6), ipv6(stranger, web1, frag), fragment(tcp, 100, false), gopacket.Payload(make([]byte, 100))), "drop fragment_without_first"},

		{"a stranger finds no host", list(ethernet(9, v6), ipv6(stranger, host, tcp), syn(22)), "drop lockdown"},
		{"with no protocol", list(ethernet(9, v6), ipv6(stranger, host, layers.IPProtocolGRE), gopacket.Payload{0}), "drop lockdown"},
		{"by IPv4 neither", list(ethernet(9, v4), ipv4("198.51.100.1", tcp), syn(22)), "drop lockdown"},
		{"nor by any other Ethernet", list(ethernet(9, 0x88cc), gopacket.Payload(make([]byte, 46))), "drop lockdown"},
		{"the failsafe is let in", list(ethernet(9, v4), ipv4("203.0.113.5", tcp), syn(22)), "stack"},
		{"on its port only", list(ethernet(9, v4), ipv4("203.0.113.5", tcp), syn(23)), "drop lockdown"},
		{"not over IPv6 by a mapped address", list(ethernet(9, v6), ipv6("::ffff:203.0.113.5", host, tcp), syn(22)), "drop lockdown"},
		{"ARP keeps the link alive", list(ethernet(9, arp), gopacket.Payload(make([]byte, 28))), "stack"},
		{"and neighbour discovery", list(ethernet(9, v6), withHops(ipv6("fe80::5", host, icmp6), 255), icmp(135), nd(host, 1, 9)), "stack"},
		{"from the link only", list(ethernet(9, v6), ipv6("fe80::5", host, icmp6), icmp(135), nd(host, 1, 9)), "drop lockdown"},
		{"a router's advertisement", list(ethernet(9, v6), withHops(ipv6("fe80::5", "ff02::1", icmp6), 255), icmp(134), gopacket.Payload(make([]byte, 12))), "stack"},
		{"not from a global address", list(ethernet(9, v6), withHops(ipv6(stranger, "ff02::1", icmp6), 255), icmp(134), gopacket.Payload(make([]byte, 12))), "drop lockdown"},
		{"a ping", list(ethernet(9, v6), ipv6(stranger, host, icmp6), icmp(128), gopacket.Payload{0, 1, 0, 1}), "drop lockdown"},
		{"DHCP that nobody asked for", list(ethernet(9, v4), ipv4("198.51.100.1", udp), &layers.UDP{SrcPort: 67, DstPort: 68}), "drop dhcp_unsolicited"},
		{"nor by IPv6", list(ethernet(9, v6), ipv6("fe80::5", host, udp), &layers.UDP{SrcPort: 547, DstPort: 546}), "drop dhcp_unsolicited"},
	} {
		t.Run(c.means, func(t *testing.T) {
			w := node(t, "expose: [{service: web}]", "")
			w.Lockdown = []spec.LockdownAllow{{
				From: netip.MustParsePrefix("203.0.113.0/24"), Ports: []spec.Ports{{Proto: spec.ProtoTCP, First: 22, Last: 22}},
			}}
			if got := outcome(w.Evaluate(policy.Ingress{Uplink: true}, frame(t, c.frame...))); got != c.want {
				t.Errorf("%s: %s, want %s", c.means, got, c.want)
			}
		})
	}
}

// Each row is a packet that an access device sends where it ends, or that comes from
// another node.
func TestEvaluateEntrance(t *testing.T) {
	const udp, icmp6 = layers.IPProtocolUDP, layers.IPProtocolICMPv6
	const gateway = "2001:db8:100:1::1"
	echo := gopacket.Payload{0, 7, 0, 1}
	for _, c := range []struct {
		means  string
		by     uint32
		packet []gopacket.SerializableLayer
		want   string
	}{
		{"the gateway answers a ping", entrance, []gopacket.SerializableLayer{ipv6(aliceHere, gateway, icmp6), icmp(128), echo}, "stack"},
		{"whatever its hop limit", entrance, []gopacket.SerializableLayer{withHops(ipv6(aliceHere, gateway, icmp6), 1), icmp(128), echo}, "stack"},
		{"nothing else", entrance, []gopacket.SerializableLayer{ipv6(aliceHere, gateway, udp), &layers.UDP{SrcPort: 1000, DstPort: 53}}, "drop host"},
		{"no answer", entrance, []gopacket.SerializableLayer{ipv6(aliceHere, gateway, icmp6), icmp(129), echo}, "drop host"},
		{"not under the anycast address", entrance, []gopacket.SerializableLayer{ipv6(aliceHere, "2001:db8:100:1::", icmp6), icmp(128), echo}, "drop host"},
		{"nor to nobody", entrance, []gopacket.SerializableLayer{ipv6("2001:db8:100:1::99", gateway, icmp6), icmp(128), echo}, "drop spoofed_address"},
		{"nor to another node", overlay, []gopacket.SerializableLayer{ipv6(bobElsewhere, gateway, icmp6), icmp(128), echo}, "drop host"},
		{"a used-up hop limit is told", entrance, []gopacket.SerializableLayer{withHops(ipv6(aliceHere, web1, layers.IPProtocolTCP), 1), syn(443)}, "stack access.alice.web"},
	} {
		t.Run(c.means, func(t *testing.T) {
			w := node(t, alice, "")
			if got := outcome(w.Evaluate(policy.Ingress{Overlay: true, Interface: c.by}, frame(t, c.packet...))); got != c.want {
				t.Errorf("%s: %s, want %s", c.means, got, c.want)
			}
		})
	}
}

// A VM takes addresses by DAD: first come, as many as it may, none that is kept.
func TestEvaluateClaims(t *testing.T) {
	w := node(t, "", "")
	w.Ports[0].Learnable = 2
	claim := func(address string) policy.Decision {
		return w.Evaluate(policy.Ingress{Interface: 1}, frame(t, ethernet(1, layers.EthernetTypeIPv6),
			withHops(ipv6("::", "ff02::1:ff00:99", layers.IPProtocolICMPv6), 255), icmp(135), nd(address, 14, 1)))
	}
	for _, c := range []struct{ address, want string }{
		{"2001:db8:100:1::99", "stack"},
		{"2001:db8:100:1::99", "stack"}, // once more, its own
		{"2001:db8:100:1::1", "drop address_taken"},
		{"2001:db8:100:1::53", "drop address_taken"},
		{"2001:db8:100:2::99", "drop address_taken"},
		{"fe80::1234", "stack"},
		{"2001:db8:100:1::9a", "drop binding_limit"},
	} {
		d := claim(c.address)
		if got := outcome(d); got != c.want {
			t.Errorf("DAD for %s: %s, want %s", c.address, got, c.want)
		}
		if d.Claim.IsValid() {
			w.Bindings = append(w.Bindings, policy.Binding{
				Address: d.Claim, Network: "acme", Service: "web", Workload: "web-1", Interface: 1, Learned: true,
			})
		}
	}
}

func TestEvaluateUnknownPort(t *testing.T) {
	w := node(t, "", "")
	if got := outcome(w.Evaluate(policy.Ingress{Interface: 77}, nil)); got != "drop unknown_port" {
		t.Errorf("an interface of no workload: %s", got)
	}
}

func outcome(d policy.Decision) string {
	text := string(d.Verdict)
	if d.Reason != policy.None {
		text += " " + d.Reason.String()
	}
	for _, r := range d.Rulings {
		text += " " + r.Entry.Key()
	}
	return text
}
