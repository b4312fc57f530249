package daemon

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// gridRetry is how long after a failure what the grid and this node have of each other is
// tried again.
const gridRetry = 5 * time.Second

// idleEvery is how often a node that hears of nothing looks whether it has a block for
// nothing.
const idleEvery = 10 * time.Minute

// followGrid keeps this node and the grid to each other's word until ctx ends: what
// owners say is stored here, what this node carries is published. Neither waits for the
// other: while the registry takes nothing, what it tells still counts, and somebody whose
// access is taken away is out.
func (d *Daemon) followGrid(ctx context.Context) error {
	adopt := newErrand(d.log, "what the grid's owners say is not all taken over", d.adoptNetworks)
	publish := newErrand(d.log, "what this node carries is not all published", d.tellGrid)
	publish.idle = idleEvery // a block of which the last /64 has rested
	var errands sync.WaitGroup
	defer errands.Wait()
	for _, e := range []*errand{adopt, publish} {
		errands.Go(func() { e.follow(ctx) })
	}
	changes := d.store.Watch(ctx, 0)
	var news <-chan struct{} // of the registry that is open
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.control.Opened():
			news = d.control.Registry().Watch(ctx)
			continue
		case <-d.control.Accepted():
		case <-d.reloaded:
		case _, open := <-news:
			if !open {
				news = nil
				continue
			}
			d.enforcer.request()
		case <-d.rotated:
		case _, open := <-changes:
			if !open {
				changes = nil
				continue
			}
		}
		if d.inGrid() && d.control.Registry() != nil {
			wake(adopt.due)
			wake(publish.due)
		}
	}
}

// tellGrid brings what the registry has of this node to what that has, and its address
// space to what holders say.
func (d *Daemon) tellGrid(ctx context.Context) error {
	settled := d.space.Settle(ctx, d.control.Registry(), time.Now())
	return errors.Join(settled, d.restoreDocuments(ctx), d.publishAll(ctx))
}

// errand is something that is done whenever it is due, one time after the other, and
// again a while after it has failed.
type errand struct {
	do      func(context.Context) error
	failure string // what it means that it has failed
	log     *slog.Logger
	due     chan struct{} // holds one element
	idle    time.Duration // after which it is due although nobody says so; 0: never
}

func newErrand(log *slog.Logger, failure string, do func(context.Context) error) *errand {
	return &errand{do: do, failure: failure, log: log, due: make(chan struct{}, 1)}
}

// follow does it until ctx ends. What goes wrong in the same way again is logged once.
func (e *errand) follow(ctx context.Context) {
	var again <-chan time.Time
	said := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.due:
		case <-again:
		}
		err := e.do(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && said != err.Error():
			e.log.Warn(e.failure+" yet; it is tried again", "error", err, "again", gridRetry)
		}
		said, again = textOf(err), nil
		if err != nil {
			again = time.After(gridRetry)
		} else if e.idle > 0 {
			again = time.After(e.idle)
		}
	}
}
