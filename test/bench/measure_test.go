package bench

import (
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
)

const (
	emptyRuns   = 50_000 // in a round, of the empty program: 0.6 ms
	subjectRuns = 10_000
	calls       = 5 // that they are spread over
)

// Return codes of programs, linux/pkt_cls.h and linux/bpf.h.
const (
	tcOK       = 0
	tcShot     = 2
	tcRedirect = 7
	xdpDrop    = 1
	xdpPass    = 2
)

// subject is a program, the packet that it gets, and what it must say.
type subject struct {
	program *ebpf.Program
	packet  packet
	want    uint32
	flows   uint32           // how many source ports take turns, a power of two; 0: the frame as the program left it
	before  func(*testing.B) // what each round begins with, not measured
}

// measure reports what a packet costs, as a multiple of the empty program, which
// runs in turns with the subject.
func (n *node) measure(b *testing.B, s subject) {
	b.Helper()
	defer n.enter(b)()
	empty := n.emptyFor(s.program)
	run := func() float64 { return cost(b, s.program, s.packet, s.want, subjectRuns) }
	if s.flows > 0 {
		run = n.feeding(b, s)
	}
	nothing := func() float64 { return cost(b, empty.program, s.packet, empty.want, emptyRuns) }
	nothing()
	run()
	var costs, ratios []float64
	for b.Loop() {
		if s.before != nil {
			s.before(b)
		}
		once, each := nothing(), run()
		costs = append(costs, each)
		ratios = append(ratios, each/once)
	}
	slices.Sort(ratios)
	slices.Sort(costs)
	b.ReportMetric(costs[len(costs)/2], "ns/op")
	b.ReportMetric(ratios[len(ratios)/4], "x-empty-q1")
	b.ReportMetric(ratios[len(ratios)/2], "x-empty")
	b.ReportMetric(ratios[len(ratios)*3/4], "x-empty-q3")
}

func (n *node) emptyFor(p *ebpf.Program) subject {
	if p.Type() == ebpf.XDP {
		return subject{program: n.bench.EmptyXdp, want: xdpPass}
	}
	return subject{program: n.bench.EmptyTc, want: tcOK}
}

// feeding gives what runs the subject behind the feeder, less what the feeder
// costs in front of an empty program.
func (n *node) feeding(b *testing.B, s subject) func() float64 {
	b.Helper()
	var zero uint32
	check(b, n.bench.Feeds.Put(zero, &benchFeed{
		Flows: s.flows, Sport: s.packet.sport, HopLimit: 64, Smac: [6]byte(s.packet.smac), Dmac: [6]byte(s.packet.dmac),
	}))
	return func() float64 {
		check(b, n.bench.Subject.Put(zero, n.bench.EmptyTc))
		feeder := cost(b, n.bench.FeedNext, s.packet, tcOK, subjectRuns)
		nothing := cost(b, n.bench.EmptyTc, s.packet, tcOK, subjectRuns)
		check(b, n.bench.Subject.Put(zero, s.program))
		return cost(b, n.bench.FeedNext, s.packet, s.want, subjectRuns) - feeder + nothing
	}
}

// cost runs a program so many times on one packet and gives what one run takes,
// in ns.
//
// The kernel's own measure is whole ns, so system calls are measured as a whole
// where they cost little besides, the median of several, since whatever else the
// machine does makes some longer. XDP takes the kernel's: there each call waits
// some ms for a trampoline.
func cost(b *testing.B, p *ebpf.Program, packet packet, want uint32, count int) float64 {
	b.Helper()
	if p.Type() == ebpf.XDP {
		got, each, err := p.Benchmark(packet.frame, count, nil)
		check(b, err)
		expect(b, p, got, want)
		return float64(each.Nanoseconds())
	}
	options := ebpf.RunOptions{Data: packet.frame, Context: packet.context(), Repeat: uint32(max(1, count/calls))}
	took := make([]time.Duration, calls)
	for i := range took {
		start := time.Now()
		got, err := p.Run(&options)
		took[i] = time.Since(start)
		check(b, err)
		expect(b, p, got, want)
	}
	slices.Sort(took)
	return float64(took[calls/2].Nanoseconds()) / float64(options.Repeat)
}

func expect(b *testing.B, p *ebpf.Program, got, want uint32) {
	b.Helper()
	if got != want {
		b.Fatalf("%s returned %d for its last packet, want %d", p, got, want)
	}
}

// sends runs a program once on each packet, all of which must go the same way.
func sends(b *testing.B, p *ebpf.Program, want uint32, packets ...packet) {
	b.Helper()
	for _, each := range packets {
		got, err := p.Run(&ebpf.RunOptions{Data: each.frame, Context: each.context()})
		check(b, err)
		expect(b, p, got, want)
	}
}
