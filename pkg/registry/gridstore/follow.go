package gridstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Times and sizes of following.
const (
	firstPause    = 100 * time.Millisecond // before the registry is tried again
	longestPause  = 5 * time.Second
	progressEvery = 100 * time.Millisecond // while something is under way
	confirmEvery  = 10 * time.Second       // while nothing happens
	rangesAtOnce  = 100                    // etcd takes 128 requests in one transaction unless told otherwise
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
	var pending []*mvccpb.Event
	busy := true // something is under way, or we do not know
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	confirmed := time.Time{}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-s.broken:
			return err
		case resp := <-s.events:
			events, told, err := s.toldBy(resp)
			if err != nil {
				return err
			}
			if len(events) > 0 {
				if !busy {
					err = s.askProgress()
				}
				pending, busy = append(pending, events...), true
			}
			if told > 0 && told >= c.revision {
				if pending, err = c.advance(ctx, s, pending, told); err != nil {
					return err
				}
				busy, confirmed = len(pending) > 0 || s.opening > 0, time.Now()
			}
			if err != nil {
				return c.whyBroken(s, err)
			}
		case <-tick.C:
			if busy || time.Since(confirmed) > confirmEvery {
				at, err := c.askRevision(ctx)
				if err != nil {
					return err
				}
				if at == c.revision && len(pending) == 0 { // etcd does not answer a stream that waits for the next revision
					c.confirm()
					busy, confirmed = false, time.Now()
				} else if err := s.askProgress(); err != nil {
					return c.whyBroken(s, err)
				}
			}
		}
	}
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
		c.state.put(key, e.Kv.Value, e.Kv.ModRevision)
	}
}

// catchUp makes the copy one from which watching can go on.
func (c *Client) catchUp(ctx context.Context) error {
	resp, err := c.header(ctx)
	if err != nil {
		return err
	}
	// Another cluster, or one that was put back to an older state, has other
	// revisions than ours.
	if c.revision != 0 && c.cluster == resp.ClusterId && c.revision <= resp.Revision {
		return nil
	}
	c.mu.Lock()
	c.state.settle()
	ranges := c.state.scope.all()
	c.mu.Unlock()
	if _, err := c.readAll(ctx, ranges, resp.Revision); err != nil {
		return err
	}
	c.revision, c.cluster = resp.Revision, resp.ClusterId
	c.publish()
	return nil
}

// readAll reads ranges at a revision, and those that concern this node because of
// what they have. It gives all that it read and that still do.
func (c *Client) readAll(ctx context.Context, ranges []string, revision int64) (read []string, err error) {
	for len(ranges) > 0 {
		now := ranges[:min(len(ranges), rangesAtOnce)]
		ranges = ranges[len(now):]
		if err := c.read(ctx, now, revision); err != nil {
			return nil, fmt.Errorf("read the grid's registry: %w", err)
		}
		read = append(read, now...)
		if len(ranges) == 0 {
			c.mu.Lock()
			ranges, _ = c.state.settle()
			c.mu.Unlock()
		}
	}
	return slices.DeleteFunc(read, func(r string) bool { return !c.state.scope.taken[r] }), nil
}

func (c *Client) read(ctx context.Context, ranges []string, revision int64) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var ops []clientv3.Op
	for _, r := range ranges {
		opts := []clientv3.OpOption{clientv3.WithRev(revision)}
		if isPrefix(r) {
			opts = append(opts, clientv3.WithPrefix())
		}
		ops = append(ops, clientv3.OpGet(r, opts...))
	}
	resp, err := c.etcd.Txn(ctx).Then(ops...).Commit()
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, one := range resp.Responses {
		c.state.replace(ranges[i], one.GetResponseRange().Kvs)
	}
	return nil
}

// header asks for the cluster's id and revision, from a majority.
func (c *Client) header(ctx context.Context) (*pb.ResponseHeader, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := c.etcd.Get(ctx, spansOf(c.cfg.Node), clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return nil, err
	}
	return resp.Header, nil
}

func (c *Client) askRevision(ctx context.Context) (int64, error) {
	h, err := c.header(ctx)
	if err != nil {
		return 0, err
	}
	return h.Revision, nil
}
