//go:build vm

package vm

import (
	"fmt"
	"net"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/maps"
	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
)

const (
	processors = 2
	ownFlows   = 300 // opened by each processor
	sameFlows  = 100 // opened by both at the same time
	exchanges  = 3   // a flow and a processor
)

// TestQueues opens flows from two processors through two queues, some of them
// from both at once. Nothing is lost, the counters of each processor sum to what
// was sent, and every flow of the table stands in exactly the room that it uses:
// one that does not could never be pushed out again.
func TestQueues(t *testing.T) {
	if n := runtime.NumCPU(); n < processors {
		t.Fatalf("the guest has %d processor", n)
	}
	for _, c := range []struct {
		name, uplink string
		lay          func(t *testing.T, node, world *lab.Machine)
	}{
		{"veth", "up0", layQueuedVeth},
		{"virtio_net", "eth4", layQueuedCards},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t, "uplinks: ["+c.uplink+"]\n", func(node, world *lab.Machine) { c.lay(t, node, world) })
			s.start()
			s.hasUplinks(hooks(t, c.uplink, "native"))
			s.apply("red", strings.Replace(red, "service: web, ports: [tcp/80]", "service: web, ports: [tcp/80, udp/9000]", 1))
			s.carriesAll(c.uplink)
		})
	}
}

func layQueuedVeth(t *testing.T, node, world *lab.Machine) {
	t.Helper()
	run(t, node, "ip link add up0 numtxqueues 2 numrxqueues 2 type veth peer name eth0 numtxqueues 2 numrxqueues 2 netns world")
	addressBoth(t, node, "up0", world, "eth0")
}

// layQueuedCards takes the two cards that have several queues.
func layQueuedCards(t *testing.T, node, world *lab.Machine) {
	t.Helper()
	takeCard(t, "eth4", node)
	takeCard(t, "eth5", world)
	addressBoth(t, node, "eth4", world, "eth5")
}

// carriesAll is the test of a scene whose web service is open to the world.
func (s *scene) carriesAll(uplink string) {
	t := s.t
	t.Helper()
	web := s.attach("red", "web", "web-1")
	echo, err := probe.ServeEcho(web.Machine, web.at(bulkPort))
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	if got, err := probe.Exchange(t.Context(), s.world, web.at(bulkPort), within); got != probe.Answered {
		t.Fatalf("the first exchange: %s %v", got, err)
	}

	m, err := maps.Open(s.path("bpf/zosnet/maps"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	before := traffic(t, m)
	sent, ports := s.storm(web)
	if t.Failed() {
		t.Logf("what was lost, and where:\n%s%s%s", s.mustCLI("status"), run(t, s.Machine, "ip -s link show "+uplink, "ethtool -S "+uplink,
			"cat /proc/net/softnet_stat"), run(t, s.world, "ip -s link", "nstat -as"))
	}
	after := traffic(t, m)
	if got := after.Ingress.Packets - before.Ingress.Packets; got != sent {
		t.Errorf("the processors' counters grew by %d packets to the workload, %d were sent", got, sent)
	}
	if got := after.Egress.Packets - before.Egress.Packets; got != sent {
		t.Errorf("the processors' counters grew by %d packets from the workload, %d were answered", got, sent)
	}
	s.eachProcessorCounts(m)
	s.queuesCarry(uplink)
	s.everyFlowIsThere(m, ports)
	s.everyFlowHasItsRoom(m)
}

// traffic of the one network.
func traffic(t *testing.T, m *maps.Maps) maps.Traffic {
	t.Helper()
	all, err := m.ReadTraffic()
	if err != nil || len(all) != 1 {
		t.Fatalf("traffic %v, %v; want that of one network", all, err)
	}
	for _, each := range all {
		return each
	}
	return maps.Traffic{}
}

// storm gives how many datagrams were sent, all answered, and the ports of the
// flows.
func (s *scene) storm(web *workload) (sent uint64, ports []uint16) {
	s.t.Helper()
	dial := func(count int) []net.Conn {
		var list []net.Conn
		for range count {
			conn, err := s.world.Dial(s.t.Context(), "udp", web.at(bulkPort).String())
			if err != nil {
				s.t.Fatal(err)
			}
			s.t.Cleanup(func() { _ = conn.Close() })
			ports = append(ports, uint16(conn.LocalAddr().(*net.UDPAddr).Port))
			list = append(list, conn)
		}
		return list
	}
	same := dial(sameFlows)
	var group sync.WaitGroup
	var meet sync.WaitGroup // both send the first datagram of a flow together
	meet.Add(processors)
	for cpu := range processors {
		own := dial(ownFlows)
		group.Go(func() {
			if err := onProcessor(cpu, func() error {
				meet.Done()
				meet.Wait()
				if err := exchangeAll(same); err != nil {
					return err
				}
				return exchangeAll(own)
			}); err != nil {
				s.t.Errorf("processor %d: %v", cpu, err)
			}
		})
	}
	group.Wait()
	return processors * exchanges * (ownFlows + sameFlows), ports
}

// onProcessor calls f on a thread that runs on one processor only.
func onProcessor(cpu int, f func() error) error {
	runtime.LockOSThread() // and never back: the thread ends with its goroutine
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return err
	}
	return f()
}

// exchangeAll sends a datagram through each flow, then waits for as many answers,
// some rounds. Answers of a flow that two share may go to either.
func exchangeAll(flows []net.Conn) error {
	const burst = 8 // fewer than any queue holds: with XDP a frame of virtio_net takes a page of a socket's buffer
	for range exchanges {
		for some := range slices.Chunk(flows, burst) {
			for _, conn := range some {
				if _, err := conn.Write([]byte("zosnet")); err != nil {
					return err
				}
			}
			for _, conn := range some {
				if err := await(conn); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func await(conn net.Conn) error {
	if err := conn.SetReadDeadline(time.Now().Add(2 * within)); err != nil {
		return err
	}
	answer := make([]byte, 64)
	if _, err := conn.Read(answer); err != nil {
		return fmt.Errorf("%v: no answer: %w", conn.LocalAddr(), err)
	}
	return nil
}

func (s *scene) eachProcessorCounts(m *maps.Maps) {
	s.t.Helper()
	var id uint32
	all, err := m.ReadTraffic()
	if err != nil {
		s.t.Fatal(err)
	}
	for id = range all {
	}
	var each []maps.Traffic
	if err := m.Traffic.Lookup(&id, &each); err != nil {
		s.t.Fatal(err)
	}
	for cpu := range processors {
		if each[cpu].Ingress.Packets == 0 {
			s.t.Errorf("processor %d counted nothing: %+v", cpu, each)
		}
	}
}

// queueLine is a line of `ethtool -S`, as veth and, in two ages, virtio_net have it.
var queueLine = regexp.MustCompile(`(?m)^\s*rx(?:_queue_)?(\d+)_xdp_packets: (\d+)$`)

// queuesCarry: XDP has seen frames of at least as many queues as there are
// processors.
func (s *scene) queuesCarry(uplink string) {
	s.t.Helper()
	text := run(s.t, s.Machine, "ethtool -S "+uplink)
	carried := 0
	for _, line := range queueLine.FindAllStringSubmatch(text, -1) {
		if line[2] != "0" {
			carried++
		}
	}
	if carried < processors {
		s.t.Errorf("%d queues of the uplink carried anything:\n%s", carried, text)
	}
}

// everyFlowIsThere: each port has one flow, and it is established.
func (s *scene) everyFlowIsThere(m *maps.Maps, ports []uint16) {
	s.t.Helper()
	states := map[uint16][]string{}
	for f, err := range m.EachFlow() {
		if err != nil {
			s.t.Fatal(err)
		}
		if f.Proto == unix.IPPROTO_UDP && f.Destination.Port() == bulkPort {
			states[f.Source.Port()] = append(states[f.Source.Port()], f.State)
		}
	}
	for _, port := range ports {
		if got := states[port]; !slices.Equal(got, []string{"established"}) {
			s.t.Errorf("the flow from port %d is %q", port, got)
		}
	}
}

// everyFlowHasItsRoom: the set that a flow names has the flow.
func (s *scene) everyFlowHasItsRoom(m *maps.Maps) {
	s.t.Helper()
	var key maps.FlowKey
	var f maps.Flow
	count := 0
	for each := m.Flows.Iterate(); each.Next(&key, &f); count++ {
		place := struct{ Network, Share, Set uint32 }{f.Owner, uint32(f.Share), f.Set}
		var ways [4]maps.FlowKey
		if err := m.FlowSets.Lookup(&place, &ways); err != nil {
			s.t.Errorf("flow %+v is in %+v, which is not there: %v", maps.RecordOf(key, f), place, err)
			continue
		}
		if !slices.Contains(ways[:], key) {
			s.t.Errorf("flow %+v has no way in %+v", maps.RecordOf(key, f), place)
		}
	}
	if count < processors*ownFlows+sameFlows {
		s.t.Errorf("the table has %d flows", count)
	}
}
