package datapath

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/zosnet/zosnet/pkg/maps"
)

// withHeaders puts raw bytes between a frame's IPv6 header and what it carries.
// next is the protocol of the first of them.
func withHeaders(data []byte, next byte, headers ...byte) []byte {
	out := append([]byte{}, data[:54]...)
	out = append(out, headers...)
	out = append(out, data[54:]...)
	out[20] = next
	binary.BigEndian.PutUint16(out[18:], uint16(len(out)-54))
	return out
}

// fragment cuts the payload of a frame: offset in bytes, a multiple of eight.
func fragment(data []byte, id uint32, offset, end int, more bool) []byte {
	header := make([]byte, 8)
	header[0] = data[20]
	field := uint16(offset)
	if more {
		field |= 1
	}
	binary.BigEndian.PutUint16(header[2:], field)
	binary.BigEndian.PutUint32(header[4:], id)
	return withHeaders(append(append([]byte{}, data[:54]...), data[54+offset:54+end]...), 44, header...)
}

func TestFragmentsGetTheirFirstsVerdict(t *testing.T) {
	m := newMachine(t, plain, plainGlobex)
	web := m.web.address
	big := udp(world, web, 999, 53)
	big.layers = append(big.layers[:1], payload(400))
	data := big.from(routerMAC, maps.MAC{}).bytes(t)
	in := func(what, want string, data []byte) {
		t.Helper()
		m.wantBytes(what, want, "uplink_ingress", m.uplink, data)
	}
	in("a later fragment without its first", "fragment_without_first", fragment(data, 7, 200, 408, false))
	in("the first", "redirect", fragment(data, 7, 0, 200, true))
	in("the later", "redirect", fragment(data, 7, 200, 408, false))
	in("one of another packet", "fragment_without_first", fragment(data, 8, 200, 408, false))
	in("one that reaches into the transport header", "fragment_overlap", fragment(data, 7, 8, 200, true))
	in("an atomic fragment", "redirect", fragment(data, 9, 0, 408, false))
	in("a first that is too short", "malformed", fragment(data, 10, 0, 4, true))
	denied := udp(world, web, 999, 54)
	denied.layers = append(denied.layers[:1], payload(400))
	data = denied.from(routerMAC, maps.MAC{}).bytes(t)
	in("a first that is not allowed", "policy_inbound", fragment(data, 11, 0, 200, true))
	in("its later", "fragment_without_first", fragment(data, 11, 200, 408, false))
}

func TestExtensionHeaders(t *testing.T) {
	m := newMachine(t, plain, plainGlobex)
	syn := tcp(world, m.web.address, 4000, 80, "S", 1, 0).from(routerMAC, maps.MAC{}).bytes(t)
	pad := []byte{6, 0, 1, 4, 0, 0, 0, 0} // next TCP, 8 octets, PadN
	chain := func(n int, last byte) (headers []byte) {
		for i := range n {
			next := byte(60)
			if i == n-1 {
				next = last
			}
			headers = append(headers, next, 0, 1, 4, 0, 0, 0, 0)
		}
		return headers
	}
	in := func(what, want string, data []byte) {
		t.Helper()
		m.wantBytes(what, want, "uplink_ingress", m.uplink, data)
	}
	in("destination options", "redirect", withHeaders(syn, 60, pad...))
	in("hop-by-hop options", "redirect", withHeaders(syn, 0, pad...))
	in("five headers", "redirect", withHeaders(syn, 60, chain(5, 6)...))
	in("seven headers", "extension_headers", withHeaders(syn, 60, chain(7, 6)...))
	in("hop-by-hop options that are not first", "extension_headers", withHeaders(syn, 60, append([]byte{0, 0, 1, 4, 0, 0, 0, 0}, pad...)...))
	in("a routing header with segments left", "extension_headers", withHeaders(syn, 43, 6, 0, 0, 1, 0, 0, 0, 0))
	in("a routing header that is used up", "redirect", withHeaders(syn, 43, 6, 0, 0, 0, 0, 0, 0, 0))
	in("a header longer than the packet", "malformed", withHeaders(syn, 60, 6, 40, 1, 4, 0, 0, 0, 0))
}

func TestICMPErrorsFindTheirFlow(t *testing.T) {
	m := newMachine(t, plain, plainGlobex)
	web := m.web.address
	router := netip.MustParseAddr("2001:db8:eeee::1")
	sent := tcp(web, world, 4000, 443, "S", 1, 0)
	tooBig := func(about frame, dst netip.Addr) frame {
		quoted := about.from(m.web.mac, gatewayMAC).bytes(t)[14:]
		return icmp(router, dst, 2, 0, append([]byte{0, 0, 5, 0}, quoted...)...)
	}
	m.arrives("icmp_unrelated", "about a flow that does not exist", tooBig(sent, web))
	m.sent(m.web, "redirect", "SYN", sent)
	m.arrives("redirect", "about the flow", tooBig(sent, web))
	m.arrives("icmp_unrelated", "about another port", tooBig(tcp(web, world, 4000, 444, "S", 1, 0), web))
	m.arrives("icmp_unrelated", "to somebody who did not send it", tooBig(sent, m.db.address))
	m.apply(acme, closed)
	m.sent(m.web, "policy_outbound", "denied now", sent)
	m.arrives("icmp_unrelated", "about a flow that is denied", tooBig(sent, web))
}

func TestWhatTheWorldMayNotSend(t *testing.T) {
	m := newMachine(t, plain, plainGlobex)
	web := m.web.address
	syn := func(src netip.Addr) frame { return tcp(src, web, 1, 80, "S", 1, 0) }
	m.arrives("spoofed_address", "a tenant's address", syn(m.db.address))
	m.arrives("spoofed_address", "its gateway's", syn(gateway(acme)))
	m.arrives("spoofed_address", "a link-local address", syn(linkGateway))
	m.arrives("spoofed_address", "the unspecified address", syn(unspecified))
	m.arrives("spoofed_address", "a multicast address", syn(allNodes))
	m.arrives("unassigned", "to a gateway", tcp(world, gateway(acme), 1, 80, "S", 1, 0))
	m.arrives("unassigned", "to nobody", tcp(world, netip.MustParseAddr("2001:db8:aaaa:1::dead"), 1, 80, "S", 1, 0))
	m.arrives("hop_limit", "with a hop limit that is used up", syn(world).hops(1))
	m.arrives("icmp_no_query", "a ping answer to nobody", icmp(world, web, 129, 0, 0, 7, 0, 1))
	m.arrives("policy_inbound", "a ping", icmp(world, web, 128, 0, 0, 7, 0, 1))
}

// A jumbo frame lies in pieces, of which XDP sees the first: it is judged by its
// headers, measured as a whole, and one that is shorter than it says is malformed.
func TestJumboFramesAtXDP(t *testing.T) {
	m := newMachine(t, plain, plainGlobex)
	host := netip.MustParseAddr(hostAddress)
	jumbo := func(to netip.Addr) []byte {
		f := udp(world, to, 1, 53)
		f.layers = append(f.layers[:1], payload(8000))
		return f.from(routerMAC, maps.MAC{}).bytes(t)
	}
	data := jumbo(host)
	before, err := m.maps.ReadLockdownDrops()
	must(t, err)
	m.wantBytes("for the host", "lockdown", "uplink_xdp", m.uplink, data)
	after, err := m.maps.ReadLockdownDrops()
	must(t, err)
	for reason, c := range after {
		if reason.String() == "lockdown" && c.Bytes-before[reason].Bytes != uint64(len(data)) {
			t.Errorf("%d bytes counted of %d", c.Bytes-before[reason].Bytes, len(data))
		}
	}
	m.wantBytes("for a tenant", "pass", "uplink_xdp", m.uplink, jumbo(m.web.address))
	m.wantBytes("a byte short", "malformed", "uplink_xdp", m.uplink, data[:len(data)-1])
}
