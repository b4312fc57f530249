package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/zosnet/zosnet/pkg/maps"
)

// recorded is a stream of events that keeps what it asked the datapath for and how
// many events were missed.
type recorded struct {
	*Events
	watched []bool
	missed  int
}

func newRecorded() *recorded {
	r := &recorded{}
	r.Events = NewEvents(testLookup,
		func(on bool) error { r.watched = append(r.watched, on); return nil },
		func(n int) { r.missed += n }, slog.New(slog.DiscardHandler))
	return r
}

func (r *recorded) subscribe(t *testing.T, f Filter) *Subscription {
	t.Helper()
	s, err := r.Subscribe(f)
	must(t, err)
	return s
}

// waiting takes the events that are in the queue.
func (s *Subscription) waiting() (events []Event) {
	for len(s.queue) > 0 {
		events = append(events, <-s.queue)
	}
	return events
}

func TestFilter(t *testing.T) {
	drop := tcpDrop()
	other := tcpDrop()
	other.Network = 2
	host := tcpDrop()
	host.Network = 0
	logged := tcpDrop()
	logged.Kind = uint32(maps.EventLog)
	learned := tcpDrop()
	learned.Kind = uint32(maps.EventLearn)
	for _, row := range []struct {
		name   string
		filter Filter
		want   []string // kind and network
	}{
		{"nothing", Filter{}, nil},
		{"drops", Filter{Drops: true}, []string{"drop acme", "drop globex", "drop "}},
		{"log lines", Filter{Logs: true}, []string{"log acme"}},
		{"learned addresses", Filter{Learned: true}, []string{"learn acme"}},
		{"all", Filter{Drops: true, Logs: true, Learned: true},
			[]string{"drop acme", "drop globex", "drop ", "log acme", "learn acme"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRecorded()
			s := r.subscribe(t, row.filter)
			defer s.Close()
			for _, raw := range []maps.Event{drop, other, host, logged, learned} {
				r.publish(&raw)
			}
			var got []string
			for _, e := range s.waiting() {
				got = append(got, string(e.Kind)+" "+e.Network)
			}
			if !slices.Equal(got, row.want) {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

// TestWatched says that the datapath is asked for drop events exactly while
// somebody wants drops.
func TestWatched(t *testing.T) {
	r := newRecorded()
	last := func() bool { return r.watched[len(r.watched)-1] }
	learner := r.subscribe(t, Filter{Learned: true, Logs: true})
	if last() {
		t.Error("somebody who wants no drops asked for them")
	}
	first := r.subscribe(t, Filter{Drops: true})
	second := r.subscribe(t, Filter{Drops: true})
	if !last() {
		t.Error("nobody asked for drops")
	}
	first.Close()
	if !last() {
		t.Error("drops were taken back although the second monitor wants them")
	}
	second.Close()
	second.Close()
	if last() {
		t.Error("drops are still asked for although nobody wants them")
	}
	learner.Close()
}

// TestNotWatchable says that a subscriber learns that it will see nothing.
func TestNotWatchable(t *testing.T) {
	broken := errors.New("no such map")
	e := NewEvents(testLookup, func(bool) error { return broken }, func(int) {}, slog.New(slog.DiscardHandler))
	if _, err := e.Subscribe(Filter{Drops: true}); !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
	if len(e.subscribers) != 0 {
		t.Error("the subscriber that was refused is still there")
	}
}

// TestSlowSubscriber says that one that does not read misses events, that this is
// counted, and that it disturbs no other.
func TestSlowSubscriber(t *testing.T) {
	r := newRecorded()
	slow, fast := r.subscribe(t, Filter{Drops: true}), r.subscribe(t, Filter{Drops: true})
	defer slow.Close()
	defer fast.Close()
	raw := tcpDrop()
	seen := 0
	for range queue + 10 {
		r.publish(&raw)
		seen += len(fast.waiting())
	}
	if seen != queue+10 || fast.Missed() != 0 {
		t.Errorf("the fast subscriber saw %d and missed %d of %d", seen, fast.Missed(), queue+10)
	}
	if got := len(slow.waiting()); got != queue || slow.Missed() != 10 || r.missed != 10 {
		t.Errorf("the slow subscriber saw %d and missed %d (%d counted), want %d and 10", got, slow.Missed(), r.missed, queue)
	}
}

// TestNamesAreFresh says that a network's name is asked for once in a flood of its
// events, and again when it may be another.
func TestNamesAreFresh(t *testing.T) {
	asked, name := 0, "acme"
	lookup := Lookup{Interface: testLookup.Interface, Network: func(uint32) (Network, bool) { asked++; return Network{Name: name}, true }}
	e := NewEvents(lookup, func(bool) error { return nil }, func(int) {}, slog.New(slog.DiscardHandler))
	s, err := e.Subscribe(Filter{Drops: true})
	must(t, err)
	defer s.Close()
	raw := tcpDrop()
	for range 100 {
		e.publish(&raw)
	}
	if asked > 50 {
		t.Errorf("a network's name was asked for %d times in a flood of 100 events", asked)
	}
	name = "globex"
	s.waiting()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(namesFresh / 4) {
		e.publish(&raw)
		if events := s.waiting(); events[len(events)-1].Network == name {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the old name is still given after 30 s")
		}
	}
}

// TestRun follows events from the ring buffer to two subscribers, and the flag in
// the node's entry.
func TestRun(t *testing.T) {
	m := openMaps(t)
	emit := emitter(t, m)
	must(t, m.SetWatched(true)) // as a killed daemon leaves it
	reader, err := m.ReadEvents()
	must(t, err)
	events := NewEvents(testLookup, m.SetWatched, func(int) {}, slog.New(slog.DiscardHandler))
	learner, err := events.Subscribe(Filter{Learned: true})
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- events.Run(ctx, reader) }()

	learned := tcpDrop()
	learned.Kind = uint32(maps.EventLearn)
	emit(learned)
	if e := next(t, learner); e.Kind != Learned || e.Network != "acme" {
		t.Errorf("the first event is %+v", e)
	}
	if node, err := m.ReadNode(); err != nil || node.Watched != 0 {
		t.Errorf("nobody wants drops, but watched is %d (%v)", node.Watched, err)
	}

	monitor, err := events.Subscribe(Filter{Drops: true})
	must(t, err)
	if node, err := m.ReadNode(); err != nil || node.Watched != 1 {
		t.Errorf("somebody wants drops, but watched is %d (%v)", node.Watched, err)
	}
	emit(tcpDrop())
	if e := next(t, monitor); e.Reason != "policy_inside" || e.Sport != 40000 || e.Dport != 5432 || len(e.Frame) != 16 {
		t.Errorf("the drop is %+v", e)
	}

	cancel()
	must(t, <-done)
	if _, more := <-monitor.Events(); more {
		t.Error("the monitor is not told that no more events come")
	}
	if _, err := events.Subscribe(Filter{Drops: true}); !errors.Is(err, ErrEnded) {
		t.Errorf("subscribing after the end: %v, want %v", err, ErrEnded)
	}
	if node, err := m.ReadNode(); err != nil || node.Watched != 0 {
		t.Errorf("after the end watched is %d (%v)", node.Watched, err)
	}
	monitor.Close()
	learner.Close()
}

func next(t *testing.T, s *Subscription) Event {
	t.Helper()
	select {
	case e, ok := <-s.Events():
		if !ok {
			t.Fatal("the subscription has ended")
		}
		return e
	case <-time.After(30 * time.Second):
		t.Fatal("no event within 30 s")
	}
	return Event{}
}
