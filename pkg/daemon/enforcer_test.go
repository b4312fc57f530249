package daemon

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// rehearsal is an enforcement whose outcome a test decides.
type rehearsal struct {
	mu    sync.Mutex
	runs  int
	errs  []error       // of the first runs; then nil
	takes time.Duration // each run
}

func (r *rehearsal) enforce(ctx context.Context) error {
	r.mu.Lock()
	n := r.runs
	r.runs++
	r.mu.Unlock()
	select {
	case <-time.After(r.takes):
	case <-ctx.Done():
		return ctx.Err()
	}
	if n < len(r.errs) {
		return r.errs[n]
	}
	return nil
}

// rehearse runs f with an enforcer, by a clock that only waiting moves.
func rehearse(t *testing.T, r *rehearsal, f func(t *testing.T, e *enforcer)) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnforcer(slog.New(slog.DiscardHandler), r.enforce)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { e.run(ctx); close(ended) }()
		f(t, e)
		cancel()
		<-ended
	})
}

func TestRequestsDuringAnEnforcementShareTheNext(t *testing.T) {
	r := &rehearsal{takes: time.Second}
	rehearse(t, r, func(t *testing.T, e *enforcer) {
		first := e.request()
		time.Sleep(500 * time.Millisecond) // it runs now, with what was known before
		var tickets []uint64
		for range 50 {
			tickets = append(tickets, e.request())
		}
		if err := e.wait(t.Context(), first); err != nil {
			t.Error(err)
		}
		if r.runs > 2 {
			t.Errorf("%d runs after the first", r.runs)
		}
		began := time.Now()
		for _, ticket := range tickets {
			if err := e.wait(t.Context(), ticket); err != nil {
				t.Error(err)
			}
		}
		if r.runs != 2 || time.Since(began) != time.Second {
			t.Errorf("%d runs, the second ended after %v; want 2, and a whole one after the requests", r.runs, time.Since(began))
		}
	})
}

func TestWhatFailsIsToldAndTriedAgain(t *testing.T) {
	broken := errors.New("broken")
	r := &rehearsal{errs: []error{broken, broken, broken}}
	rehearse(t, r, func(t *testing.T, e *enforcer) {
		if err := e.wait(t.Context(), e.request()); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
		if tried, _, err := e.state(); !tried || !errors.Is(err, broken) {
			t.Errorf("state: tried %v, %v", tried, err)
		}
		time.Sleep(firstRetry + 2*firstRetry + 4*firstRetry + time.Millisecond)
		if _, _, err := e.state(); err != nil || r.runs != 4 {
			t.Errorf("after three retries: %d runs, %v", r.runs, err)
		}
		time.Sleep(time.Hour)
		if r.runs != 4 {
			t.Errorf("%d runs although nothing was asked for", r.runs)
		}
	})
}

func TestRetriesDoNotStop(t *testing.T) {
	r := &rehearsal{}
	for range 1000 {
		r.errs = append(r.errs, errors.New("broken"))
	}
	rehearse(t, r, func(t *testing.T, e *enforcer) {
		e.request()
		time.Sleep(time.Hour)
		before := r.runs
		time.Sleep(10 * lastRetry)
		if got := r.runs - before; got != 10 {
			t.Errorf("%d retries in %v, want one every %v", got, 10*lastRetry, lastRetry)
		}
	})
}

func TestWaitEndsWithItsCaller(t *testing.T) {
	r := &rehearsal{takes: time.Hour}
	rehearse(t, r, func(t *testing.T, e *enforcer) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := e.wait(ctx, e.request()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if _, running, _ := e.state(); running != time.Second {
			t.Errorf("runs for %v", running)
		}
	})
}
