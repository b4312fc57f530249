package daemon

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zosnet/zosnet/pkg/apply"
	"github.com/zosnet/zosnet/pkg/plan"
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

// count gives how often it ran, once all that was due by now is done.
func (r *rehearsal) count() int {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.runs
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
		if runs := r.count(); runs > 2 {
			t.Errorf("%d runs after the first", runs)
		}
		began := time.Now()
		for _, ticket := range tickets {
			if err := e.wait(t.Context(), ticket); err != nil {
				t.Error(err)
			}
		}
		if runs := r.count(); runs != 2 || time.Since(began) != time.Second {
			t.Errorf("%d runs, the second ended after %v; want 2, and a whole one after the requests", runs, time.Since(began))
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
		runs := r.count()
		if _, _, err := e.state(); err != nil || runs != 4 {
			t.Errorf("after three retries: %d runs, %v", runs, err)
		}
		time.Sleep(time.Hour)
		if runs := r.count(); runs != 4 {
			t.Errorf("%d runs although nothing was asked for", runs)
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
		before := r.count()
		time.Sleep(10 * lastRetry)
		if got := r.count() - before; got != 10 {
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

// TestFailedNetworks: what one tenant's network wants and cannot have keeps nobody
// else's from being published, and is not published itself.
func TestFailedNetworks(t *testing.T) {
	object := func(name string) error { return &apply.ObjectError{Object: name, Err: errors.New("no")} }
	for _, row := range []struct {
		err    error
		failed []string
		more   bool
	}{
		{nil, nil, false},
		{object("workload acme/web-1"), nil, false},
		{errors.Join(object("entrance acme"), object("workload globex/db-1")), []string{"acme"}, false},
		{errors.Join(object("overlay acme"), object("network globex")), []string{"acme", "globex"}, false},
		{errors.Join(object("overlay acme"), object("lockdown")), nil, true},
		{errors.Join(object("overlay acme"), errors.New("cut short")), nil, true},
	} {
		failed, more := failedNetworks(row.err)
		if more != row.more || !more && !slices.Equal(slices.Sorted(maps.Keys(failed)), row.failed) {
			t.Errorf("%v: %v, %v; want %v, %v", row.err, failed, more, row.failed, row.more)
		}
	}
	was := []plan.Overlay{{Network: "acme", Port: 1}, {Network: "globex", Port: 1}}
	want := []plan.Overlay{{Network: "acme", Port: 2}, {Network: "globex", Port: 2}}
	if now := enforcedOverlays(was, want, map[string]bool{"acme": true}); len(now) != 2 || now[0].Port != 2 || now[0].Network != "globex" || now[1].Port != 1 {
		t.Errorf("overlays %+v, want globex's new one and acme's old one", now)
	}
}
