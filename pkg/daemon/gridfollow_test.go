package daemon

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// errands runs a test with errands, by a clock that only waiting moves.
func errands(t *testing.T, log *slog.Logger, do map[string]func(context.Context) error, f func(map[string]*errand)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		all, ended := map[string]*errand{}, make(chan struct{}, len(do))
		for name, run := range do {
			e := newErrand(log, name+" failed", run)
			e.idle = time.Hour
			all[name] = e
			go func() { e.follow(ctx); ended <- struct{}{} }()
		}
		f(all)
		cancel()
		for range do {
			<-ended
		}
	})
}

// TestAdoptionDoesNotWaitForPublishing: with a registry that takes a minute for each
// write, what it tells is taken over as it comes.
func TestAdoptionDoesNotWaitForPublishing(t *testing.T) {
	var adopted []time.Time
	var published int
	errands(t, slog.New(slog.DiscardHandler), map[string]func(context.Context) error{
		"publish": func(ctx context.Context) error {
			select {
			case <-time.After(time.Minute):
				published++
			case <-ctx.Done():
			}
			return nil
		},
		"adopt": func(context.Context) error {
			adopted = append(adopted, time.Now())
			return nil
		},
	}, func(all map[string]*errand) {
		for i := range 5 {
			at := time.Now()
			wake(all["publish"].due)
			wake(all["adopt"].due)
			synctest.Wait()
			if len(adopted) != i+1 || adopted[i] != at {
				t.Errorf("news %d came at %v, adopted at %v", i, at, adopted)
			}
			time.Sleep(time.Second)
		}
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if published != 2 { // what came meanwhile is one
			t.Errorf("published %d times, expected 2", published)
		}
	})
}

// TestErrandThatFails: it is done again after a while, or at once when something is new,
// and what is wrong is said once.
func TestErrandThatFails(t *testing.T) {
	var said strings.Builder
	var runs atomic.Int64
	broken := true
	errands(t, slog.New(slog.NewTextHandler(&said, nil)), map[string]func(context.Context) error{
		"adopt": func(context.Context) error {
			if runs.Add(1); broken {
				return errors.New("no block")
			}
			return nil
		},
	}, func(all map[string]*errand) {
		wake(all["adopt"].due)
		time.Sleep(3*gridRetry + time.Second)
		synctest.Wait()
		if runs := runs.Load(); runs != 4 {
			t.Errorf("tried %d times in %v, expected 4", runs, 3*gridRetry)
		}
		broken = false
		wake(all["adopt"].due)
		synctest.Wait()
		time.Sleep(3 * gridRetry)
		synctest.Wait()
		if runs := runs.Load(); runs != 5 {
			t.Errorf("tried %d times, expected 5", runs)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if runs := runs.Load(); runs != 6 {
			t.Errorf("with nothing new for an hour tried %d times, expected 6", runs)
		}
	})
	if n := strings.Count(said.String(), "no block"); n != 1 {
		t.Errorf("it is said %d times, expected once:\n%s", n, &said)
	}
}
