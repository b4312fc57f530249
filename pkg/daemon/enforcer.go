package daemon

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// How long the enforcer waits before it tries again what failed, at first and at
// most.
const (
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
)

// enforcer runs one enforcement after the other: any number of requests that
// come while one runs are served by the next. What fails is tried again.
type enforcer struct {
	enforce func(context.Context) error
	log     *slog.Logger
	wake    chan struct{} // holds one element

	mu       sync.Mutex
	wanted   uint64        // requests so far
	served   uint64        // requests that an enforcement has served, well or not
	err      error         // of the last enforcement
	begun    time.Time     // of the one that runs; zero: none does
	progress chan struct{} // closed and replaced after each enforcement
}

func newEnforcer(log *slog.Logger, enforce func(context.Context) error) *enforcer {
	return &enforcer{enforce: enforce, log: log, wake: make(chan struct{}, 1), progress: make(chan struct{})}
}

// request asks for an enforcement that begins after this call, and gives the
// ticket to wait for it.
func (e *enforcer) request() (ticket uint64) {
	e.mu.Lock()
	e.wanted++
	ticket = e.wanted
	e.mu.Unlock()
	select {
	case e.wake <- struct{}{}:
	default:
	}
	return ticket
}

// wait waits for the enforcement of a ticket and gives its error.
func (e *enforcer) wait(ctx context.Context, ticket uint64) error {
	for {
		e.mu.Lock()
		served, err, progress := e.served, e.err, e.progress
		e.mu.Unlock()
		if served >= ticket {
			return err
		}
		select {
		case <-progress:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// run serves requests until ctx ends.
func (e *enforcer) run(ctx context.Context) {
	var retry <-chan time.Time
	pause := firstRetry
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.wake:
		case <-retry:
		}
		retry = nil
		err := e.once(ctx)
		if err == nil {
			pause = firstRetry
			continue
		}
		if ctx.Err() != nil {
			return
		}
		e.log.Error("not everything could be enforced; what was stays, and it is tried again", "error", err, "again", pause)
		retry = time.After(pause)
		pause = min(2*pause, lastRetry)
	}
}

func (e *enforcer) once(ctx context.Context) error {
	e.mu.Lock()
	serving := e.wanted
	e.begun = time.Now()
	e.mu.Unlock()
	err := e.enforce(ctx)
	e.mu.Lock()
	e.served, e.err, e.begun = serving, err, time.Time{}
	close(e.progress)
	e.progress = make(chan struct{})
	e.mu.Unlock()
	return err
}

// ended gives a channel that is closed when the next enforcement has ended.
func (e *enforcer) ended() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.progress
}

// state tells whether there was an enforcement, how long the one that runs has
// been running, and the error of the last one.
func (e *enforcer) state() (tried bool, running time.Duration, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.begun.IsZero() {
		running = time.Since(e.begun)
	}
	return e.served > 0, running, e.err
}
