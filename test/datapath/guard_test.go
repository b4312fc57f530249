package datapath

import (
	"net/netip"
	"testing"

	"github.com/zosnet/zosnet/pkg/maps"
)

var (
	unspecified = netip.IPv6Unspecified()
	allNodes    = netip.MustParseAddr("ff02::1")
	allRouters  = netip.MustParseAddr("ff02::2")
	linkGateway = netip.MustParseAddr("fe80::1")
)

// Types of neighbour discovery, RFC 4861, 4.
const (
	routerSolicit, routerAdvert, neighborSolicit, neighborAdvert, redirectMessage = 133, 134, 135, 136, 137
)

// nd makes a neighbour discovery message about a target, with a link-layer option
// of the given type unless that is 0.
func nd(kind uint8, src, dst, target netip.Addr, option uint8, mac maps.MAC) frame {
	body := make([]byte, 4, 28)
	if kind != routerSolicit {
		body = append(body, target.AsSlice()...)
	}
	if option != 0 {
		body = append(body, option, 1)
		body = append(body, mac.Bytes[:]...)
	}
	return icmp(src, dst, kind, 0, body...).hops(255)
}

func TestNeighbourDiscoveryGuard(t *testing.T) {
	m := newMachine(t, plain, plainGlobex)
	web, db := m.web.address, m.db.address
	stranger := maps.MAC{Bytes: [6]byte{2, 9, 9, 9, 9, 9}}
	own := linkLocal(m.web.mac)
	rows := []struct {
		what, want string
		frame      frame
	}{
		{"solicits its gateway", "pass", nd(neighborSolicit, web, allNodes, linkGateway, 1, m.web.mac)},
		{"solicits a neighbour", "pass", nd(neighborSolicit, own, allNodes, db, 1, m.web.mac)},
		{"advertises its own address", "pass", nd(neighborAdvert, web, db, web, 2, m.web.mac)},
		{"looks for duplicates of its own address", "pass", nd(neighborSolicit, unspecified, allNodes, web, 0, m.web.mac)},
		{"asks for routers", "pass", nd(routerSolicit, own, allRouters, own, 1, m.web.mac)},
		{"advertises a neighbour's address", "nd_guard", nd(neighborAdvert, web, allNodes, db, 2, m.web.mac)},
		{"advertises its gateway's address", "nd_guard", nd(neighborAdvert, web, allNodes, linkGateway, 2, m.web.mac)},
		{"names another MAC", "nd_guard", nd(neighborAdvert, web, allNodes, web, 2, stranger)},
		{"solicits from a neighbour's address", "nd_guard", nd(neighborSolicit, db, allNodes, web, 1, m.web.mac)},
		{"solicits through a router", "nd_guard", nd(neighborSolicit, web, allNodes, db, 1, m.web.mac).hops(254)},
		{"claims a neighbour's address", "address_taken", nd(neighborSolicit, unspecified, allNodes, db, 0, m.web.mac)},
		{"claims its gateway's address", "address_taken", nd(neighborSolicit, unspecified, allNodes, linkGateway, 0, m.web.mac)},
		{"claims an address that nobody gave it", "unknown_identity", nd(neighborSolicit, unspecified, allNodes, netip.MustParseAddr("2001:db8:aaaa:1::999"), 0, m.web.mac)},
		{"says it is a router", "ra_guard", nd(routerAdvert, own, allNodes, own, 1, m.web.mac)},
		{"redirects", "redirect_guard", nd(redirectMessage, own, allNodes, own, 1, m.web.mac)},
		{"has another MAC in the frame", "spoofed_mac", nd(neighborSolicit, web, allNodes, db, 1, m.web.mac).from(stranger, gatewayMAC)},
	}
	for _, r := range rows {
		m.sent(m.web, r.want, r.what, r.frame)
	}
}

func TestAVMsAddressesAreLearnedFromItsDAD(t *testing.T) {
	m := newMachine(t, plain, plainGlobex)
	first := netip.MustParseAddr("2001:db8:aaaa:1:aaaa::1")
	claim := func(a netip.Addr) frame { return nd(neighborSolicit, unspecified, allNodes, a, 0, m.vm.mac) }
	say := func(a netip.Addr) frame { return udp(a, m.web.address, 1000, 2000) }
	m.sent(m.vm, "unknown_identity", "speaks before it claims", say(first))
	m.sent(m.vm, "pass", "claims a link-local address", claim(linkLocal(m.vm.mac)))
	m.sent(m.vm, "pass", "claims an address", claim(first))
	m.sent(m.vm, "redirect", "speaks from it", say(first))
	m.sent(m.vm, "pass", "claims it again", claim(first))
	m.sent(m.vm, "address_taken", "claims another's", claim(m.web.address))
	m.sent(m.vm, "address_taken", "claims another network's", claim(m.api.address))
	m.sent(m.vm, "address_taken", "claims the resolver's", claim(netip.MustParseAddr("2001:db8:aaaa:1::53")))
	m.sent(m.vm, "pass", "claims its third", claim(netip.MustParseAddr("2001:db8:aaaa:1:aaaa::2")))
	m.sent(m.vm, "binding_limit", "claims more than it may", claim(netip.MustParseAddr("2001:db8:aaaa:1:aaaa::3")))
	m.sent(m.web, "address_taken", "another workload claims a learned address", nd(neighborSolicit, unspecified, allNodes, first, 0, m.web.mac))
	m.sent(m.web, "spoofed_address", "another workload speaks from it", udp(first, m.db.address, 1, 2))
	m.arrives("policy_inbound", "the world finds it, and its rules", udp(world, first, 1, 2))
}

func TestWhatAWorkloadMayNotSend(t *testing.T) {
	m := newMachine(t, plain, plainGlobex)
	web, db := m.web.address, m.db.address
	echo := []byte{0, 7, 0, 1}
	rows := []struct {
		what, want string
		frame      frame
	}{
		{"a neighbour's address", "spoofed_address", udp(db, world, 1, 2)},
		{"another network's address", "spoofed_address", udp(m.api.address, world, 1, 2)},
		{"an address of nobody", "spoofed_address", udp(world, db, 1, 2)},
		{"an address of this network without a binding", "unknown_identity", udp(netip.MustParseAddr("2001:db8:aaaa:1::777"), db, 1, 2)},
		{"its gateway's address", "spoofed_address", udp(gateway(acme), db, 1, 2)},
		{"a DHCPv6 answer", "dhcp_guard", udp(web, db, 547, 546)},
		{"multicast DNS", "multicast", udp(web, netip.MustParseAddr("ff02::fb"), 5353, 5353)},
		{"to the node", "host", tcp(web, netip.MustParseAddr(hostAddress), 1, 22, "S", 1, 0)},
		{"to its gateway", "host", tcp(web, gateway(acme), 1, 22, "S", 1, 0)},
		{"to another network's gateway", "unassigned", tcp(web, gateway(globex), 1, 22, "S", 1, 0)},
		{"to the node's own /64", "host", tcp(web, netip.MustParseAddr("2001:db8:aaaa::1"), 1, 22, "S", 1, 0)},
		{"to tenant space that nobody has", "unassigned", tcp(web, netip.MustParseAddr("2001:db8:aaaa:9::1"), 1, 22, "S", 1, 0)},
		{"to another network, which does not let it in", "policy_inbound", tcp(web, m.api.address, 1, 80, "S", 1, 0)},
		{"a ping to its gateway", "pass", icmp(web, gateway(acme), 128, 0, echo...)},
		{"a ping answer to nobody", "icmp_no_query", icmp(web, world, 129, 0, echo...)},
		{"an ICMP error about nothing", "icmp_unrelated", icmp(web, world, 1, 4, make([]byte, 60)...)},
		{"SYN and FIN", "tcp_flags", tcp(web, world, 1, 2, "SF", 1, 0)},
		{"no flag", "tcp_flags", tcp(web, world, 1, 2, "", 1, 0)},
		{"FIN, PSH and URG", "tcp_flags", tcp(web, world, 1, 2, "FPU", 1, 0)},
		{"to the world", "redirect", tcp(web, world, 1, 2, "S", 1, 0)},
		{"with a hop limit that is used up: its gateway says so", "pass", udp(web, world, 5, 6).hops(1)},
	}
	for _, r := range rows {
		m.sent(m.web, r.want, r.what, r.frame)
	}
	data := udp(web, world, 1, 2).from(m.web.mac, gatewayMAC).bytes(t)
	arp := append([]byte{}, data...)
	arp[12], arp[13] = 0x08, 0x06
	m.wantBytes("ARP", "not_ipv6", "workload_egress", m.web.ifindex, arp)
	tagged := append(append(append([]byte{}, data[:12]...), 0x81, 0, 0, 5), data[12:]...)
	m.wantBytes("a VLAN tag", "vlan", "workload_egress", m.web.ifindex, tagged)
	m.wantBytes("a cut header", "malformed", "workload_egress", m.web.ifindex, data[:58])
	m.wantBytes("an interface of nobody", "unknown_port", "workload_egress", m.uplink, data)
}

func TestOnlyTheGatewayReachesAWorkloadUnjudged(t *testing.T) {
	m := newMachine(t, plain, plainGlobex)
	web := m.web.address
	toWeb := func(f frame) frame { return f.from(gatewayMAC, m.web.mac) }
	m.want("its gateway's advertisement", "pass", "workload_ingress", m.web.ifindex, toWeb(nd(neighborAdvert, linkGateway, web, linkGateway, 2, gatewayMAC)))
	m.want("its gateway's ping answer", "pass", "workload_ingress", m.web.ifindex, toWeb(icmp(gateway(acme), web, 129, 0, 0, 7, 0, 1)))
	m.want("its gateway's packet too big", "pass", "workload_ingress", m.web.ifindex, toWeb(icmp(gateway(acme), web, 2, 0, make([]byte, 60)...)))
	m.want("its gateway's TCP", "unjudged", "workload_ingress", m.web.ifindex, toWeb(tcp(gateway(acme), web, 1, 80, "S", 1, 0)))
	m.want("the host's own address", "unjudged", "workload_ingress", m.web.ifindex, toWeb(udp(netip.MustParseAddr(hostAddress), web, 1, 2)))
	m.want("a stranger's", "unjudged", "workload_ingress", m.web.ifindex, toWeb(tcp(world, web, 1, 80, "S", 1, 0)))
}

func TestADropIsCountedForTheNetworkThatSent(t *testing.T) {
	m := newMachine(t, plain, plainGlobex)
	scan := tcp(m.web.address, netip.MustParseAddr(hostAddress), 1, 22, "S", 1, 0)
	for _, what := range []string{"the first SYN", "its repetition"} {
		m.blamed = 0
		m.sent(m.web, "host", what, scan)
		if m.blamed != acme {
			t.Errorf("%s: counted for network %d, expected %d", what, m.blamed, acme)
		}
	}
	m.arrives("hop_limit", "a packet at its last hop", tcp(world, m.web.address, 1, 80, "S", 1, 0).hops(1))
	if m.blamed != acme {
		t.Errorf("hop limit: counted for network %d, expected %d", m.blamed, acme)
	}
}
