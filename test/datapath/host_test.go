package datapath

import (
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"

	"github.com/zosnet/zosnet/pkg/maps"
	"github.com/zosnet/zosnet/pkg/spec"
)

func payload(n int) gopacket.Payload { return make([]byte, n) }

// knocks is what a stranger sends to the host: it meets uplink_xdp, and where XDP
// did not see it uplink_ingress, which must say the same.
func (m *machine) knocks(want, what string, f frame) {
	m.t.Helper()
	f = f.from(routerMAC, maps.MAC{})
	m.want(what, want, "uplink_xdp", m.uplink, f)
	m.want(what+" (at tc)", want, "uplink_ingress", m.uplink, f)
}

func (m *machine) hostSays(want, what string, f frame) {
	m.t.Helper()
	m.want(what, want, "uplink_egress", m.uplink, f.from(maps.MAC{}, routerMAC))
}

func TestTheHostIsInvisible(t *testing.T) {
	m := newMachine(t, plain, plainGlobex)
	host := netip.MustParseAddr(hostAddress)
	m.knocks("lockdown", "a SYN", tcp(world, host, 1, 22, "S", 1, 0))
	m.knocks("lockdown", "an ACK", tcp(world, host, 1, 22, "A", 1, 1))
	m.knocks("lockdown", "a ping", icmp(world, host, 128, 0, 0, 7, 0, 1))
	m.knocks("lockdown", "UDP", udp(world, host, 53, 1234))
	m.knocks("lockdown", "a protocol of no ports", frame{src: world, dst: host, hopLimit: 64, proto: 47, layers: []gopacket.SerializableLayer{payload(20)}})
	m.knocks("lockdown", "an ICMP error about nothing", icmp(world, host, 1, 4, make([]byte, 60)...))
	m.knocks("lockdown", "a router solicitation", nd(routerSolicit, linkGateway, allRouters, linkGateway, 1, routerMAC))
	m.knocks("lockdown", "a redirect", nd(redirectMessage, linkGateway, host, linkGateway, 2, routerMAC))
	m.knocks("dhcp_unsolicited", "a DHCPv6 answer without a request", udp(linkGateway, host, 547, 546))
	m.knocks("lockdown", "a solicitation through a router", nd(neighborSolicit, world, host, host, 1, routerMAC).hops(254))
	m.knocks("pass", "a neighbour's solicitation", nd(neighborSolicit, linkGateway, host, host, 1, routerMAC))
	m.knocks("pass", "a router's advertisement", nd(routerAdvert, linkGateway, allNodes, linkGateway, 1, routerMAC))
	m.hostSays("host_reply", "a RST", tcp(host, world, 22, 1, "RA", 0, 1))
	m.hostSays("host_reply", "a SYN-ACK", tcp(host, world, 22, 1, "SA", 0, 1))
	m.hostSays("host_reply", "a ping answer", icmp(host, world, 129, 0, 0, 7, 0, 1))
	m.hostSays("host_reply", "a port unreachable", icmp(host, world, 1, 4, make([]byte, 60)...))
	m.hostSays("tenant_leak", "a tenant's packet that nobody judged", udp(m.web.address, world, 1, 2))
	m.hostSays("pass", "its own solicitation", nd(neighborSolicit, host, linkGateway, linkGateway, 1, maps.MAC{}))
}

func TestTheHostsOwnFlows(t *testing.T) {
	m := newMachine(t, plain, plainGlobex)
	host := netip.MustParseAddr(hostAddress)
	m.hostSays("pass", "SYN", tcp(host, world, 5000, 443, "S", 1, 0))
	m.knocks("pass", "SYN-ACK", tcp(world, host, 443, 5000, "SA", 1, 2))
	m.knocks("lockdown", "a SYN of the same ports", tcp(world, host, 443, 5000, "S", 1, 0))
	m.knocks("lockdown", "from another port", tcp(world, host, 444, 5000, "A", 1, 2))
	m.hostSays("pass", "data", tcp(host, world, 5000, 443, "PA", 2, 2))
	m.hostSays("pass", "DNS", udp(host, world, 6000, 53))
	m.knocks("pass", "its answer", udp(world, host, 53, 6000))
	m.hostSays("pass", "ping", icmp(host, world, 128, 0, 0, 7, 0, 1))
	m.knocks("pass", "its answer", icmp(world, host, 129, 0, 0, 7, 0, 1))
	m.knocks("lockdown", "another ping's answer", icmp(world, host, 129, 0, 0, 8, 0, 1))
	quoted := udp(host, world, 6000, 53).from(maps.MAC{}, routerMAC).bytes(t)[14:]
	m.knocks("pass", "packet too big about its own flow", icmp(netip.MustParseAddr("2001:db8:eeee::1"), host, 2, 0, append([]byte{0, 0, 5, 0}, quoted...)...))
	m.hostSays("pass", "DHCPv6 request", udp(linkLocal(routerMAC), netip.MustParseAddr("ff02::1:2"), 546, 547))
	m.knocks("pass", "its answer, from another address", udp(linkGateway, linkLocal(routerMAC), 547, 546))
}

// A bond asks through one of its cards, and the answer comes in by whichever the
// switch takes.
func TestADHCPAnswerMayComeInByAnotherCard(t *testing.T) {
	m := newMachine(t, plain, plainGlobex)
	other := m.veth("up1")
	must(t, m.maps.PutUplink(other, nil))
	self := linkLocal(routerMAC)
	answer := udp(linkGateway, self, 547, 546).from(routerMAC, maps.MAC{})
	m.want("an answer before the request", "dhcp_unsolicited", "uplink_xdp", other, answer)
	m.hostSays("pass", "DHCPv6 request", udp(self, netip.MustParseAddr("ff02::1:2"), 546, 547))
	m.want("its answer", "pass", "uplink_xdp", other, answer)
}

func TestTheFailsafe(t *testing.T) {
	m := newMachine(t, plain, plainGlobex)
	host := netip.MustParseAddr(hostAddress)
	allow := []spec.LockdownAllow{{From: netip.PrefixFrom(world, 128), Ports: []spec.Ports{{Proto: spec.ProtoTCP, First: 22, Last: 22}}}}
	must(t, m.maps.PutLockdown(1, allow))
	must(t, m.maps.SetLockdown(1))
	m.knocks("pass", "the friend's SYN", tcp(world, host, 1, 22, "S", 1, 0))
	m.hostSays("pass", "its answer", tcp(host, world, 22, 1, "SA", 0, 1))
	m.knocks("lockdown", "the friend at another port", tcp(world, host, 1, 23, "S", 1, 0))
	m.knocks("lockdown", "a stranger", tcp(netip.MustParseAddr("2001:db8:ffff::6"), host, 1, 22, "S", 1, 0))
	must(t, m.maps.PutLockdown(2, nil))
	must(t, m.maps.TryLockdown(2, maps.BootTime()+uint64(3600e9)))
	m.knocks("lockdown", "during a trial without it", tcp(world, host, 1, 22, "S", 1, 0))
	must(t, m.maps.TryLockdown(2, 1))
	m.knocks("pass", "past the trial's deadline", tcp(world, host, 1, 22, "S", 1, 0))
}

// Each network's WireGuard listens on a port that is open to everybody: more of them
// than ranges fit an entry of the failsafe.
func TestManyPortsAreOpenToEverybody(t *testing.T) {
	m := newMachine(t, plain, plainGlobex)
	host := netip.MustParseAddr(hostAddress)
	var allow []spec.LockdownAllow
	for port := uint16(20480); port < 20480+500; port++ {
		allow = append(allow, spec.LockdownAllow{From: netip.PrefixFrom(netip.IPv6Unspecified(), 0), Ports: []spec.Ports{{Proto: spec.ProtoUDP, First: port, Last: port}}})
	}
	must(t, m.maps.PutLockdown(1, allow))
	must(t, m.maps.SetLockdown(1))
	for _, port := range []uint16{20480, 20979} {
		m.knocks("pass", "a stranger at an open port", udp(world, host, 999, port))
		m.knocks("lockdown", "the same of TCP", tcp(world, host, 999, port, "S", 1, 0))
	}
	m.knocks("lockdown", "a stranger at the next port", udp(world, host, 999, 20980))
	quoted := udp(world, host, 999, 20480).from(routerMAC, routerMAC).bytes(t)[14:]
	m.hostSays("host_reply", "that nothing listens at an open port", icmp(host, world, 1, 4, append(make([]byte, 4), quoted...)...))
	must(t, m.maps.PutLockdown(2, allow[1:]))
	must(t, m.maps.TryLockdown(2, maps.BootTime()+uint64(3600e9)))
	m.knocks("lockdown", "during a trial without it", udp(world, host, 999, 20480))
	m.knocks("pass", "during a trial with it", udp(world, host, 999, 20481))
}

func TestTheFailsafeCarriesFragmentsAndPathMTU(t *testing.T) {
	m := newMachine(t, plain, plainGlobex)
	host := netip.MustParseAddr(hostAddress)
	allow := []spec.LockdownAllow{{From: netip.PrefixFrom(world, 128), Ports: []spec.Ports{{Proto: spec.ProtoUDP, First: 53, Last: 53}}}}
	must(t, m.maps.PutLockdown(1, allow))
	must(t, m.maps.SetLockdown(1))
	m.knocks("pass", "the friend's question", udp(world, host, 999, 53))
	big := udp(host, world, 53, 999)
	big.layers = append(big.layers[:1], payload(400))
	data := big.from(maps.MAC{}, routerMAC).bytes(t)
	m.wantBytes("the first fragment of the answer", "pass", "uplink_egress", m.uplink, fragment(data, 7, 0, 208, true))
	m.wantBytes("the rest", "pass", "uplink_egress", m.uplink, fragment(data, 7, 208, 408, false))
	tooBig := func(about frame) frame {
		quoted := about.from(maps.MAC{}, routerMAC).bytes(m.t)[14:]
		return icmp(netip.MustParseAddr("2001:db8:eeee::1"), host, 2, 0, append([]byte{0, 0, 5, 0}, quoted...)...)
	}
	m.knocks("pass", "a router's packet too big about it", tooBig(udp(host, world, 53, 999)))
	m.knocks("lockdown", "about what the friend may not have", tooBig(udp(host, world, 54, 999)))
}

func TestABlindRSTEndsNoFlowOfTheHost(t *testing.T) {
	m := newMachine(t, plain, plainGlobex)
	host := netip.MustParseAddr(hostAddress)
	m.hostSays("pass", "SYN", tcp(host, world, 5000, 443, "S", 1, 0))
	m.knocks("pass", "SYN-ACK", tcp(world, host, 443, 5000, "SA", 1, 2))
	for _, flags := range []string{"R", "FA"} {
		m.knocks("pass", flags+" of whatever number", tcp(world, host, 443, 5000, flags, 900_000_000, 2))
		m.hostFlow("established")
	}
	m.hostSays("pass", "the host's own FIN", tcp(host, world, 5000, 443, "FA", 2, 2))
	m.hostFlow("closing")
}

// hostFlow checks the only flow of the host.
func (m *machine) hostFlow(state string) {
	m.t.Helper()
	var key maps.HostFlowKey
	var f maps.HostFlow
	flows := m.maps.HostFlows.Iterate()
	for flows.Next(&key, &f) {
		if got := flowStates[f.State]; got != state {
			m.t.Errorf("host's flow is %s, expected %s", got, state)
		}
	}
	must(m.t, flows.Err())
}

func TestTaggedFramesAreJudgedLikeOthers(t *testing.T) {
	m := newMachine(t, plain, plainGlobex)
	data := tcp(world, netip.MustParseAddr(hostAddress), 1, 22, "S", 1, 0).from(routerMAC, maps.MAC{}).bytes(t)
	one := append(append(append([]byte{}, data[:12]...), 0x81, 0, 0, 5), data[12:]...)
	two := append(append(append([]byte{}, data[:12]...), 0x88, 0xa8, 0, 5), one[12:]...)
	three := append(append(append([]byte{}, data[:12]...), 0x81, 0, 0, 5), two[12:]...)
	m.wantBytes("one tag", "lockdown", "uplink_xdp", m.uplink, one)
	m.wantBytes("two tags", "lockdown", "uplink_xdp", m.uplink, two)
	m.wantBytes("three tags", "vlan", "uplink_xdp", m.uplink, three)
}
