package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zosnet/zosnet/pkg/maps"
)

// queue is how many events a subscriber may be behind before it misses some.
const queue = 1024

// namesFresh is how long names are good for. Events come in floods, and what a
// network's rules are called is not asked anew for each.
const namesFresh = 100 * time.Millisecond

// ErrEnded says that no events come any more.
var ErrEnded = errors.New("events: the reader has ended")

// Filter says which events a subscriber wants.
type Filter struct {
	Drops   bool
	Logs    bool
	Learned bool
}

func (f Filter) wants(kind Kind) bool {
	return kind == Dropped && f.Drops || kind == Logged && f.Logs || kind == Learned && f.Learned
}

// Events hands each event of the datapath to all who subscribed.
type Events struct {
	lookup Lookup
	watch  func(bool) error
	lost   func(n int)
	log    *slog.Logger

	mu          sync.Mutex
	subscribers map[*Subscription]struct{}
	ended       bool
	names       Lookup // what lookup said since asked
	asked       time.Time
}

// NewEvents makes a stream without subscribers. watch asks the datapath for drop
// events or takes that back (maps.SetWatched); lost is told how many events a
// subscriber missed (Metrics.EventsLost).
func NewEvents(lookup Lookup, watch func(bool) error, lost func(int), log *slog.Logger) *Events {
	return &Events{lookup: lookup, watch: watch, lost: lost, log: log, subscribers: map[*Subscription]struct{}{}}
}

// Subscription is one reader of events.
type Subscription struct {
	events *Events
	filter Filter
	queue  chan Event
	missed atomic.Uint64
}

// Events gives the events in the order in which they happened on each CPU. It is
// closed by Close and when no more come.
func (s *Subscription) Events() <-chan Event { return s.queue }

// Missed is how many events the subscriber was too slow for.
func (s *Subscription) Missed() uint64 { return s.missed.Load() }

// Subscribe gives the events from now on that the filter lets through. A reader
// that is more than queue events behind misses those that come then.
func (e *Events) Subscribe(f Filter) (*Subscription, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended {
		return nil, ErrEnded
	}
	s := &Subscription{events: e, filter: f, queue: make(chan Event, queue)}
	e.subscribers[s] = struct{}{}
	if err := e.ask(); err != nil {
		delete(e.subscribers, s)
		return nil, err
	}
	return s, nil
}

// Close ends the subscription. It may be called more than once.
func (s *Subscription) Close() {
	e := s.events
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, there := e.subscribers[s]; !there {
		return
	}
	delete(e.subscribers, s)
	close(s.queue)
	if err := e.ask(); err != nil {
		e.log.Error("the datapath keeps sending drop events that nobody reads", "error", err)
	}
}

// ask tells the datapath whether somebody wants drop events.
func (e *Events) ask() error {
	watched := false
	for s := range e.subscribers {
		watched = watched || s.filter.Drops
	}
	if err := e.watch(watched); err != nil {
		return fmt.Errorf("ask the datapath for drop events: %w", err)
	}
	return nil
}

// Run hands on events until ctx is done, then ends every subscription. It closes
// the reader. It begins with taking back what an earlier daemon may have asked
// for.
func (e *Events) Run(ctx context.Context, reader *maps.EventReader) error {
	stop := context.AfterFunc(ctx, func() { _ = reader.Close() })
	defer func() {
		if stop() {
			_ = reader.Close()
		}
	}()
	defer e.end()
	e.mu.Lock()
	err := e.ask()
	e.mu.Unlock()
	for err == nil {
		var raw maps.Event
		if raw, err = reader.Next(); err == nil {
			e.publish(&raw)
		}
	}
	if errors.Is(err, maps.ErrEventsClosed) && ctx.Err() != nil {
		return nil
	}
	return err
}

// publish hands one event to those who want it.
func (e *Events) publish(raw *maps.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	kind := kinds[raw.Kind]
	var event *Event
	for s := range e.subscribers {
		if !s.filter.wants(kind) {
			continue
		}
		if event == nil { // put into words only when somebody listens
			words := eventOf(raw, e.freshNames())
			event = &words
		}
		select {
		case s.queue <- *event:
		default:
			s.missed.Add(1)
			e.lost(1)
		}
	}
}

// freshNames gives names that are at most namesFresh old.
func (e *Events) freshNames() Lookup {
	if now := time.Now(); now.Sub(e.asked) > namesFresh {
		e.names, e.asked = e.lookup.remembering(), now
	}
	return e.names
}

// end closes every subscription.
func (e *Events) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended = true
	for s := range e.subscribers {
		close(s.queue)
	}
	clear(e.subscribers)
	if err := e.ask(); err != nil {
		e.log.Error("the datapath keeps sending drop events that nobody reads", "error", err)
	}
}
