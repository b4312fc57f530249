package bench

import (
	"fmt"
	"testing"

	"github.com/gopacket/gopacket/layers"
)

// sizes are what the cost of a packet must not, or hardly, depend on.
var sizes = []size{
	{networks: 2, rules: 5, workloads: 3},
	{networks: 2, rules: 500, workloads: 3},
	{networks: 100, rules: 1000, workloads: 3},
	{networks: 2, rules: 4000, workloads: 3},
	{networks: 4000, rules: 5, workloads: 10000},
}

func flagsOf(syn, ack bool) func(*layers.TCP) {
	return func(h *layers.TCP) { h.SYN, h.ACK = syn, ack }
}

// BenchmarkParse is what reading the headers costs.
func BenchmarkParse(b *testing.B) {
	n := newNode(b)
	p := udp(b, n.clientPlace(), n.serverPlace(), firstPort, port)
	b.Run("tc", func(b *testing.B) { n.measure(b, subject{program: n.bench.ParseTc, packet: p, want: tcOK}) })
	b.Run("xdp", func(b *testing.B) { n.measure(b, subject{program: n.bench.ParseXdp, packet: p, want: xdpPass}) })
}

// BenchmarkEstablished is a packet of a flow that is known.
func BenchmarkEstablished(b *testing.B) {
	for _, s := range sizes {
		b.Run(s.String(), func(b *testing.B) {
			n := newNode(b)
			n.fill(b, s)
			n.established(b)
		})
	}
}

func (n *node) established(b *testing.B) {
	client, server, world, host := n.clientPlace(), n.serverPlace(), n.world(), n.host()
	egress, ingress := n.programs["workload_egress"], n.programs["uplink_ingress"]

	run := func(name string, s subject, before func(*testing.B)) {
		b.Run(name, func(b *testing.B) {
			leave := n.enter(b)
			if before != nil {
				before(b)
			}
			leave()
			n.measure(b, s)
		})
	}
	ask := udp(b, client, server, firstPort, port)
	answer := udp(b, server, client, port, firstPort)
	run("workload_egress/udp", subject{program: egress, packet: ask, want: tcRedirect}, func(b *testing.B) {
		sends(b, egress, tcRedirect, ask, answer)
	})
	segment := tcp(b, client, server, firstPort, port, flagsOf(false, true))
	run("workload_egress/tcp", subject{program: egress, packet: segment, want: tcRedirect}, func(b *testing.B) {
		sends(b, egress, tcRedirect, segment)
	})
	out := udp(b, client, world, firstPort, port)
	run("workload_egress/outbound", subject{program: egress, packet: out, want: tcRedirect, flows: 1}, func(b *testing.B) {
		sends(b, egress, tcRedirect, out)
	})
	in := udp(b, world, client, port, firstPort)
	run("uplink_ingress/inbound", subject{program: ingress, packet: in, want: tcRedirect, flows: 1}, func(b *testing.B) {
		sends(b, egress, tcRedirect, out)
		sends(b, ingress, tcRedirect, in)
	})
	stranger := udp(b, world, host, firstPort, 53)
	run("uplink_xdp/stranger", subject{program: n.programs["uplink_xdp"], packet: stranger, want: xdpDrop}, nil)
	run("uplink_xdp/tenant", subject{program: n.programs["uplink_xdp"], packet: in, want: xdpPass}, nil)
	query := udp(b, host, world, firstPort, 53)
	reply := udp(b, world, host, 53, firstPort)
	ask53 := func(b *testing.B) { sends(b, n.programs["uplink_egress"], tcOK, query) }
	run("uplink_xdp/reply", subject{program: n.programs["uplink_xdp"], packet: reply, want: xdpPass}, ask53)
	run("uplink_egress/host", subject{program: n.programs["uplink_egress"], packet: query, want: tcOK}, ask53)
	judged := udp(b, world, client, port, firstPort)
	judged.ifindex = client.in.index
	run("workload_ingress/judged", subject{program: n.programs["workload_ingress"], packet: marked(judged, ownNetwork), want: tcOK}, nil)
}

// BenchmarkNew is the first packet of a flow while there is room for it.
func BenchmarkNew(b *testing.B) {
	for _, s := range sizes {
		b.Run(s.String(), func(b *testing.B) {
			n := newNode(b)
			n.fill(b, s)
			n.begun(b, n.clearFlows)
		})
	}
}

// BenchmarkNewFull is the first packet of a flow that takes the place of an older
// one, as in a flood.
func BenchmarkNewFull(b *testing.B) {
	n := newNode(b)
	n.fill(b, sizes[0])
	n.begun(b, nil)
}

func (n *node) begun(b *testing.B, before func(*testing.B)) {
	const flows = 65536
	client, server, other, world, host := n.clientPlace(), n.serverPlace(), n.otherPlace(), n.world(), n.host()
	egress, ingress := n.programs["workload_egress"], n.programs["uplink_ingress"]
	run := func(name string, s subject) {
		s.flows, s.before = flows, before
		b.Run(name, func(b *testing.B) { n.measure(b, s) })
	}
	run("workload_egress/inside", subject{program: egress, packet: udp(b, client, server, firstPort, port), want: tcRedirect})
	run("workload_egress/between", subject{program: egress, packet: udp(b, client, other, firstPort, port), want: tcRedirect})
	run("workload_egress/outbound", subject{program: egress, packet: udp(b, client, world, firstPort, port), want: tcRedirect})
	run("workload_egress/denied", subject{program: egress, packet: udp(b, client, server, firstPort, port-1), want: tcShot})
	run("uplink_ingress/inbound", subject{program: ingress, packet: udp(b, world, server, firstPort, port), want: tcRedirect})
	run("uplink_egress/host", subject{program: n.programs["uplink_egress"], packet: udp(b, host, world, firstPort, 53), want: tcOK})
}

// BenchmarkFlows is a packet of each of many known flows in turns.
func BenchmarkFlows(b *testing.B) {
	n := newNode(b)
	n.fill(b, sizes[0])
	for _, flows := range []uint32{1, 1024, 32768} {
		b.Run(fmt.Sprintf("flows=%d", flows), func(b *testing.B) {
			p := udp(b, n.clientPlace(), n.world(), firstPort, port)
			n.measure(b, subject{program: n.programs["workload_egress"], packet: p, want: tcRedirect, flows: flows})
		})
	}
}
