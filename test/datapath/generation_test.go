package datapath

import (
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/maps"
)

// While rules change, packets are judged on another processor. No flow that the new
// rules deny may carry their generation: it would never be judged again.
func TestNoVerdictCarriesANewerGenerationThanItsRules(t *testing.T) {
	const changes, most = 2000, 10 * time.Second
	m := newMachine(t, plain, plainGlobex)
	allowing, err := m.maps.Network(acme)
	must(t, err)
	m.apply(acme, strings.Replace(plain, "allow: {from: web, to: db", "deny: {from: web, to: db", 1))
	denying, err := m.maps.Network(acme)
	must(t, err)
	must(t, m.maps.PutPolicy(acme, allowing.Policy, m.compile(acme, plain)))
	generation := denying.Generation
	flip := func(to maps.Network) { // in one write, as apply does
		generation++
		to.Generation = generation
		must(t, m.maps.PutNetwork(acme, to))
	}
	s := m.startFlows()
	defer s.stop()
	for began, i := time.Now(), 0; i < changes && time.Since(began) < most; i++ {
		flip(allowing)
		s.wait(t)
		flip(denying)
		s.wait(t)
		var key maps.FlowKey
		var f maps.Flow
		flows := m.maps.Flows.Iterate()
		for flows.Next(&key, &f) {
			wrong := func() bool { return f.Denied == 0 && f.Low.Generation == generation && f.High.Generation == generation }
			if !wrong() {
				continue
			}
			// It may just have been judged again while it was read.
			s.wait(t)
			if err := m.maps.Flows.Lookup(&key, &f); err == nil && wrong() {
				t.Fatalf("after %d changes a flow carries generation %d, which denies it: %+v", i, generation, f)
			}
		}
	}
	if s.starts.Load() < changes {
		t.Errorf("only %d flows were begun", s.starts.Load())
	}
}

// starter begins flows of the web workload on a thread of its own.
type starter struct {
	starts atomic.Uint64
	quit   chan struct{}
	done   chan struct{} // closed when it has ended
	err    error         // why, then
}

func (m *machine) startFlows() *starter {
	m.t.Helper()
	s := &starter{quit: make(chan struct{}), done: make(chan struct{})}
	namespace, err := os.Open("/proc/thread-self/ns/net")
	must(m.t, err)
	var frames [][]byte
	for port := range uint16(1000) {
		frames = append(frames, tcp(m.web.address, m.db.address, port, 5432, "S", 1, 0).from(m.web.mac, m.db.mac).bytes(m.t))
	}
	program, context := m.programs["workload_egress"], &skBuff{Ifindex: m.web.ifindex}
	go func() {
		defer close(s.done)
		runtime.LockOSThread() // the thread ends with the goroutine
		defer func() { _ = namespace.Close() }()
		if s.err = unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); s.err != nil {
			return
		}
		for i := 0; ; i++ {
			select {
			case <-s.quit:
				return
			default:
			}
			if _, s.err = program.Run(&ebpf.RunOptions{Data: frames[i%len(frames)], Context: context}); s.err != nil {
				return
			}
			s.starts.Add(1)
		}
	}()
	return s
}

// wait returns when the flow that is begun now has been, and another.
func (s *starter) wait(t *testing.T) {
	t.Helper()
	for before := s.starts.Load(); s.starts.Load() < before+2; {
		select {
		case <-s.done:
			t.Fatalf("begin a flow: %v", s.err)
		default:
			runtime.Gosched()
		}
	}
}

func (s *starter) stop() {
	close(s.quit)
	<-s.done
}
