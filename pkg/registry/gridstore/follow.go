package gridstore

import (
	"context"
	"errors"
	"slices"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// Times and sizes of following.
const (
	firstPause    = 100 * time.Millisecond // before the registry is tried again
	longestPause  = 5 * time.Second
	progressEvery = 100 * time.Millisecond // while something is under way, at first
	progressMost  = 2 * time.Second        // and at most: a registry that is slow is asked less
	confirmEvery  = 10 * time.Second       // while nothing happens
	cacheEvery    = time.Minute            // that only time has passed
)

// run follows the registry until ctx ends.
func (c *Client) run(ctx context.Context) {
	pause := firstPause
	for ctx.Err() == nil {
		before := c.now()
		err := c.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		if c.now().Sub(before) > longestPause {
			pause = firstPause
		}
		c.reportAway(err)
		select {
		case <-ctx.Done():
		case f := <-c.forgets:
			c.forget(f)
		case <-time.After(pause):
		}
		pause = min(2*pause, longestPause)
	}
}

// follow brings the copy up to date and keeps it so, until the stream breaks.
func (c *Client) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := c.catchUp(ctx); err != nil {
		return err
	}
	s, err := openStream(ctx, c.etcd)
	if err != nil {
		return err
	}
	for _, r := range c.state.scope.all() {
		if err := s.watch(r, c.revision+1); err != nil {
			return c.whyBroken(s, err)
		}
	}
	err = c.listen(ctx, s)
	if errors.Is(err, errCompacted) || errors.Is(err, rpctypes.ErrCompacted) {
		c.revision = 0 // reads everything
	}
	return err
}

// whyBroken gives the reason for which a stream took no request.
func (c *Client) whyBroken(s *stream, err error) error {
	select {
	case why := <-s.broken:
		return why
	case <-time.After(firstPause):
		return err
	}
}

// listen takes in what the stream tells. What happened is put together from all
// ranges up to one revision before anybody hears of it.
func (c *Client) listen(ctx context.Context, s *stream) error {
	l := listening{busy: true}
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-s.broken:
			return err
		case f := <-c.forgets:
			c.forget(f)
		case <-c.again:
			c.revision = 0
			return errAgain
		case <-s.ready:
			for _, resp := range s.take() {
				if err := c.hear(ctx, s, &l, resp); err != nil {
					return err
				}
			}
		case <-tick.C:
			if !l.due() {
				continue
			}
			if err := c.ask(ctx, s, &l); err != nil {
				return err
			}
		}
	}
}

// listening is how far a stream has come.
type listening struct {
	pending   []*mvccpb.Event // after the copy's revision
	busy      bool            // something is under way, or we do not know
	confirmed time.Time       // when we knew last that nothing is
	asked     time.Time       // when we asked last whether something is
	pause     time.Duration   // until we ask again
}

// due tells whether to ask how far the registry is. Each answer costs its leader a
// round, and every node may be busy at once.
func (l *listening) due() bool {
	if !l.busy {
		l.pause = 0
		return time.Since(l.confirmed) >= confirmEvery
	}
	if time.Since(l.asked) < l.pause {
		return false
	}
	l.asked, l.pause = time.Now(), min(max(progressEvery, 2*l.pause), progressMost)
	return true
}

// hear takes in one answer of the stream.
func (c *Client) hear(ctx context.Context, s *stream, l *listening, resp *pb.WatchResponse) error {
	events, told, err := s.toldBy(resp)
	switch {
	case err != nil:
		return err
	case len(events) > 0:
		l.pending = append(l.pending, events...)
		if l.busy {
			return nil
		}
		l.busy = true
		return c.askProgress(s)
	case told > 0 && told >= c.revision:
		if l.pending, err = c.advance(ctx, s, l.pending, told); err != nil {
			return err
		}
		l.busy, l.confirmed, l.pause = len(l.pending) > 0 || s.opening > 0, time.Now(), 0
		if len(l.pending) > 0 {
			return c.askProgress(s)
		}
	case resp.Created && s.opening == 0: // only now it can say so
		return c.askProgress(s)
	}
	return nil
}

// ask finds out whether the copy is up to date, or makes the stream say so.
func (c *Client) ask(ctx context.Context, s *stream, l *listening) error {
	at, err := c.place(ctx)
	if err != nil {
		return err
	}
	if at.revision == c.revision && len(l.pending) == 0 { // etcd does not answer a stream that waits for the next revision
		c.confirm()
		l.busy, l.confirmed = false, time.Now()
		return nil
	}
	return c.askProgress(s)
}

func (c *Client) askProgress(s *stream) error {
	if err := s.askProgress(); err != nil {
		return c.whyBroken(s, err)
	}
	return nil
}

// advance takes events in up to a revision, and gives those after it.
func (c *Client) advance(ctx context.Context, s *stream, pending []*mvccpb.Event, told int64) ([]*mvccpb.Event, error) {
	slices.SortStableFunc(pending, func(a, b *mvccpb.Event) int { return int(a.Kv.ModRevision - b.Kv.ModRevision) })
	n := 0
	c.mu.Lock()
	for ; n < len(pending) && pending[n].Kv.ModRevision <= told; n++ {
		c.take(pending[n])
	}
	added, dropped := c.state.settle()
	c.mu.Unlock()
	for _, r := range dropped {
		if err := s.unwatch(r); err != nil {
			return nil, c.whyBroken(s, err)
		}
	}
	more, err := c.readAll(ctx, added, told)
	if err != nil {
		c.revision = 0 // the copy has only half of it
		return nil, err
	}
	for _, r := range more {
		if err := s.watch(r, told+1); err != nil {
			c.revision = told
			return nil, c.whyBroken(s, err)
		}
	}
	c.revision = told
	c.publish()
	return pending[n:], nil
}

// take takes one event in.
func (c *Client) take(e *mvccpb.Event) {
	key := string(e.Kv.Key)
	switch {
	case !c.state.scope.covers(key): // its range was dropped meanwhile
	case e.Type == mvccpb.Event_DELETE:
		c.state.delete(key)
	default:
		c.state.put(key, e.Kv.Value, revisionOf(e.Kv))
	}
}
