package gridstore

import (
	"context"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// rangesAtOnce is how many are read by one request: etcd takes 128 in a transaction
// unless told otherwise.
const rangesAtOnce = 100

// catchUp makes the copy one from which watching can go on.
func (c *Client) catchUp(ctx context.Context) error {
	at, err := c.place(ctx)
	if err != nil {
		return err
	}
	// Another cluster, one that was recovered, or one that was put back to an older
	// state, has other revisions than ours.
	if c.revision != 0 && c.cluster == at.cluster && c.state.snapshot.Recovery == at.recovery && c.revision <= at.revision {
		return nil
	}
	c.mu.Lock()
	c.wrote = min(c.wrote, at.revision) // it may have been put back
	c.state.settle()
	ranges := c.state.scope.all()
	c.mu.Unlock()
	if _, err := c.readAll(ctx, ranges, at.revision); err != nil {
		return err
	}
	c.revision, c.cluster = at.revision, at.cluster
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
	resp, err := c.getRanges(ctx, ranges, revision)
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

// place is which registry answers, and how far it is.
type place struct {
	cluster  uint64
	recovery uint64 // of the last recovery: etcd's own id of the cluster stays
	revision int64
}

// place asks where the registry is, from a majority.
func (c *Client) place(ctx context.Context) (place, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := c.etcd.Txn(ctx).Then(clientv3.OpGet(recoveryAt)).Commit()
	if err != nil {
		return place{}, err
	}
	return place{resp.Header.ClusterId, recoveryIn(resp.Responses[0].GetResponseRange().Kvs), resp.Header.Revision}, nil
}
