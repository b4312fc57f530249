package datapath

import (
	"net/netip"
	"testing"

	"github.com/zosnet/zosnet/pkg/maps"
)

const plain = `
network: acme
nodes: [n1]
services: {web: {ports: [tcp/80]}, db: {ports: [tcp/5432]}, vms: {}}
rules:
  - allow: {from: web, to: db, ports: [tcp/5432]}
  - deny: {from: inside, to: db}
expose:
  - {service: web, ports: [tcp/80, udp/53]}
`

const closed = `
network: acme
nodes: [n1]
services: {web: {ports: [tcp/80]}, db: {ports: [tcp/5432]}, vms: {}}
rules:
  - deny: {from: any, to: any}
`

const plainGlobex = `
network: globex
nodes: [n1]
services: {api: {ports: [tcp/80]}}
`

var world = netip.MustParseAddr(worldAddress)

func TestLifeOfATCPConnectionFromOutside(t *testing.T) {
	m := newMachine(t, plain, plainGlobex)
	web := m.web.address
	m.arrives("tcp_state", "a SYN-ACK that answers nothing", tcp(world, web, 4000, 80, "SA", 1, 1))
	m.arrives("tcp_state", "a RST of nothing", tcp(world, web, 4000, 80, "R", 1, 0))
	m.arrives("policy_inbound", "a SYN to a port that is not exposed", tcp(world, web, 4000, 81, "S", 1, 0))
	out := m.arrives("redirect", "SYN", tcp(world, web, 4000, 80, "S", 100, 0))
	if out[21] != 63 {
		t.Errorf("hop limit %d, expected 63: it counts down on the fast path too", out[21])
	}
	if [6]byte(out[:6]) != m.web.mac.Bytes || [6]byte(out[6:12]) != gatewayMAC.Bytes {
		t.Errorf("MACs % x, expected the workload's and its gateway's", out[:12])
	}
	m.sent(m.web, "redirect", "SYN-ACK", tcp(web, world, 80, 4000, "SA", 500, 101))
	m.flow("answered", false)
	m.arrives("redirect", "an ACK of a number that nobody sent", tcp(world, web, 4000, 80, "A", 101, 77))
	m.flow("answered", false)
	m.arrives("redirect", "ACK", tcp(world, web, 4000, 80, "A", 101, 501))
	m.flow("established", true)
	m.sent(m.web, "redirect", "data", tcp(web, world, 80, 4000, "PA", 501, 101))
	m.arrives("redirect", "FIN", tcp(world, web, 4000, 80, "FA", 101, 502))
	m.flow("closing", true)
	m.sent(m.web, "redirect", "RST", tcp(web, world, 80, 4000, "R", 502, 0))
	m.flow("closed", true)
}

var flowStates = []string{"opening", "answered", "established", "closing", "closed"}

// flow checks the only flow there is.
func (m *machine) flow(state string, established bool) {
	m.t.Helper()
	var found []maps.Flow
	var key maps.FlowKey
	var f maps.Flow
	flows := m.maps.Flows.Iterate()
	for flows.Next(&key, &f) {
		if f.State > 0 || f.Denied == 0 {
			found = append(found, f)
		}
	}
	must(m.t, flows.Err())
	if len(found) != 1 {
		m.t.Fatalf("%d flows, expected one", len(found))
	}
	if got := flowStates[found[0].State]; got != state {
		m.t.Errorf("flow is %s, expected %s", got, state)
	}
	if (found[0].Share >= 2) != established {
		m.t.Errorf("flow in share %d, expected established room: %v", found[0].Share, established)
	}
}

func TestARuleTakenAwayStopsItsFlowsFromEitherSide(t *testing.T) {
	m := newMachine(t, plain, plainGlobex)
	web, db := m.web.address, m.db.address
	m.sent(m.web, "redirect", "SYN", tcp(web, db, 4000, 5432, "S", 1, 0))
	m.sent(m.db, "redirect", "SYN-ACK", tcp(db, web, 5432, 4000, "SA", 9, 2))
	m.sent(m.web, "redirect", "ACK", tcp(web, db, 4000, 5432, "A", 2, 10))
	m.apply(acme, closed)
	m.sent(m.db, "policy_inside", "the server's next segment", tcp(db, web, 5432, 4000, "PA", 10, 2))
	m.sent(m.db, "flow_denied", "and the one after", tcp(db, web, 5432, 4000, "PA", 11, 2))
	m.sent(m.web, "flow_denied", "the client's", tcp(web, db, 4000, 5432, "A", 2, 10))
	m.apply(acme, plain)
	m.sent(m.db, "redirect", "the rule is back", tcp(db, web, 5432, 4000, "PA", 12, 2))
}

func TestAFlowFromOutsideStaysDeniedThoughOutboundIsAllowed(t *testing.T) {
	m := newMachine(t, plain, plainGlobex)
	web := m.web.address
	m.arrives("redirect", "UDP to an exposed port", udp(world, web, 999, 53))
	m.sent(m.web, "redirect", "its answer", udp(web, world, 53, 999))
	m.arrives("redirect", "SYN", tcp(world, web, 4000, 80, "S", 1, 0))
	m.sent(m.web, "redirect", "SYN-ACK", tcp(web, world, 80, 4000, "SA", 9, 2))
	m.arrives("redirect", "ACK", tcp(world, web, 4000, 80, "A", 2, 10))
	m.apply(acme, `
network: acme
nodes: [n1]
services: {web: {ports: [tcp/80]}, db: {ports: [tcp/5432]}, vms: {}}
`)
	for range 3 {
		m.sent(m.web, "redirect", "another flow of the workload's own", udp(web, world, 53, 1000))
		if _, reason, _ := m.step("workload_egress", m.web.ifindex, udp(web, world, 53, 999).from(m.web.mac, gatewayMAC).bytes(t)); reason == "" {
			t.Error("the server starts the denied UDP exchange again from inside")
		}
		if _, reason, _ := m.step("workload_egress", m.web.ifindex, tcp(web, world, 80, 4000, "PA", 10, 2).from(m.web.mac, gatewayMAC).bytes(t)); reason == "" {
			t.Error("the server starts the denied TCP connection again from inside")
		}
	}
	m.sent(m.web, "redirect", "a connection of the server's own to the same port", tcp(web, world, 80, 4000, "S", 1, 0))
}

func TestPickedUpInTheMiddle(t *testing.T) {
	m := newMachine(t, plain, plainGlobex)
	web, db := m.web.address, m.db.address
	m.arrives("redirect", "data of a connection that may start in this direction", tcp(world, web, 4000, 80, "PA", 5, 5))
	m.flow("opening", false)
	m.sent(m.web, "redirect", "acknowledged", tcp(web, world, 80, 4000, "A", 5, 6))
	m.flow("established", true)
	m.sent(m.vm, "spoofed_address", "data from an address that is another's", tcp(db, web, 80, 4001, "PA", 5, 5))
	m.sent(m.web, "policy_inside", "data of one that may not start", tcp(web, db, 80, 4001, "PA", 5, 5))
	m.sent(m.db, "flow_denied", "nor be started by the other side's next segment", tcp(db, web, 4001, 80, "PA", 5, 5))
}

func TestAStrangersSYNFloodLeavesEstablishedFlowsAlone(t *testing.T) {
	m := newMachine(t, plain, plainGlobex)
	web := m.web.address
	m.arrives("redirect", "SYN", tcp(world, web, 4000, 80, "S", 100, 0))
	m.sent(m.web, "redirect", "SYN-ACK", tcp(web, world, 80, 4000, "SA", 500, 101))
	m.arrives("redirect", "ACK", tcp(world, web, 4000, 80, "A", 101, 501))
	for i := range 3000 {
		stranger := netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0xbb, 14: byte(i >> 8), 15: byte(i)})
		if i%2 == 0 {
			m.step("uplink_ingress", m.uplink, tcp(stranger, web, 1, 80, "S", 1, 0).from(routerMAC, maps.MAC{}).bytes(t))
		} else {
			m.step("uplink_ingress", m.uplink, tcp(stranger, web, 1, 80, "A", 1, 1).from(routerMAC, maps.MAC{}).bytes(t))
		}
	}
	count, established := 0, 0
	var key maps.FlowKey
	var f maps.Flow
	flows := m.maps.Flows.Iterate()
	for flows.Next(&key, &f) {
		count++
		if f.State == 2 {
			established++
		}
	}
	must(t, flows.Err())
	if established != 1 {
		t.Errorf("%d established flows, expected the one that there was", established)
	}
	if count > 64*4+1 {
		t.Errorf("%d flows, expected no more than the share has room for", count)
	}
}

func TestANewGenerationJudgesAgain(t *testing.T) {
	m := newMachine(t, plain, plainGlobex)
	web, db := m.web.address, m.db.address
	m.sent(m.web, "redirect", "SYN", tcp(web, db, 4000, 5432, "S", 1, 0))
	n, err := m.maps.Network(acme)
	must(t, err)
	n.Generation++
	must(t, m.maps.PutNetwork(acme, n))
	m.sent(m.web, "redirect", "still allowed", tcp(web, db, 4000, 5432, "S", 1, 0))
	must(t, m.maps.DeleteNetwork(acme))
	m.sent(m.web, "spoofed_address", "a network that is gone knows nobody", tcp(web, db, 4001, 5432, "S", 1, 0))
}
