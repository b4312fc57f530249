package gridstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// What bounds a change that others keep overtaking, or that finds no leader.
const (
	maxAttempts = 20
	retryAfter  = 100 * time.Millisecond // or half more, or less: those who overtook each other do it again apart
)

// change is one transaction being put together: it reads at one revision, and is
// committed only if every key that it was computed from is still the same.
type change struct {
	ctx      context.Context
	client   *Client
	revision int64          // of everything read, 0 before the first read; once it is committed, of that
	values   map[Key][]byte // that were read one by one
	compares []clientv3.Cmp
	ops      []clientv3.Op
}

var errStale = errors.New("others changed it meanwhile")

// change computes and commits a transaction. compute is called again, with a new
// change, when others were faster and when it is not known whether the commit
// happened: so it must find its own work done and then do nothing.
func (c *Client) change(ctx context.Context, what string, compute func(*change) error) error {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	var err error
	for attempt := range maxAttempts {
		if attempt > 0 {
			select {
			case <-ctx.Done():
				return fmt.Errorf("%s: %w", what, err)
			case <-time.After(retryAfter/2 + rand.N(retryAfter)):
			}
		}
		ch := &change{ctx: ctx, client: c, values: map[Key][]byte{}}
		err = ch.run(compute)
		if !again(err) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// again tells whether a change may succeed when it is tried again: others were
// faster, there was no leader, or the member that was asked died over it.
func again(err error) bool {
	if errors.Is(err, errStale) || errors.Is(err, rpctypes.ErrCompacted) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	if etcd, is := errors.AsType[rpctypes.EtcdError](err); is {
		return etcd.Code() == codes.Unavailable
	}
	s, is := status.FromError(err)
	return is && err != nil && (s.Code() == codes.Unavailable || s.Code() == codes.Unknown || s.Code() == codes.Internal)
}

func (c *change) run(compute func(*change) error) error {
	if err := compute(c); err != nil || len(c.ops) == 0 {
		return err
	}
	ctx, cancel := context.WithTimeout(c.ctx, callTimeout)
	defer cancel()
	resp, err := c.client.etcd.Txn(ctx).If(c.compares...).Then(c.ops...).Commit()
	switch {
	case err == nil && !resp.Succeeded:
		return errStale
	case errors.Is(err, rpctypes.ErrTooManyOps), errors.Is(err, rpctypes.ErrRequestTooLarge):
		return &tooLargeError{compares: len(c.compares), ops: len(c.ops), cause: err}
	case err != nil:
		return err
	}
	c.revision = resp.Header.Revision
	return nil
}

// tooLargeError says that etcd does not take a transaction of that size.
type tooLargeError struct {
	compares, ops int
	cause         error
}

func (e *tooLargeError) Unwrap() error { return e.cause }

func (e *tooLargeError) Error() string {
	return fmt.Sprintf("%v: it compares %d keys or ranges and changes %d; the grid's own registry takes 16384 of each and 8 MiB, "+
		"and an etcd that you run yourself 128 of each and 1.5 MiB until its members are started with --max-txn-ops 16384 --max-request-bytes 8388608",
		e.cause, e.compares, e.ops)
}

func (c *change) read(key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	if c.revision != 0 {
		opts = append(opts, clientv3.WithRev(c.revision))
	}
	ctx, cancel := context.WithTimeout(c.ctx, callTimeout)
	defer cancel()
	resp, err := c.client.etcd.Get(ctx, key, opts...)
	if err != nil {
		return nil, err
	}
	if c.revision == 0 {
		c.revision = resp.Header.Revision
	}
	return resp, nil
}

// get gives a key's value, nil if there is none.
func (c *change) get(key Key) ([]byte, error) {
	resp, err := c.read(key.String())
	if err != nil {
		return nil, err
	}
	var raw []byte
	var revision int64
	if len(resp.Kvs) == 1 {
		raw, revision = resp.Kvs[0].Value, resp.Kvs[0].ModRevision
	}
	c.values[key] = raw
	c.compares = append(c.compares, clientv3.Compare(clientv3.ModRevision(key.String()), "=", revision))
	return raw, nil
}

// into decodes a key's value and tells whether there is one.
func (c *change) into(key Key, v value) (bool, error) {
	raw, err := c.get(key)
	if err != nil || raw == nil {
		return false, err
	}
	if err := decode(raw, v); err != nil {
		return false, fmt.Errorf("registry key %s: %w", key, err)
	}
	return true, nil
}

// list gives every key under a prefix. That one of them goes meanwhile does not
// stop the change.
func (c *change) list(under string) ([]*mvccpb.KeyValue, error) {
	resp, err := c.read(under, clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	c.unchanged(under)
	return resp.Kvs, nil
}

// unchanged commits the change only if nothing under a prefix was put since its
// revision.
func (c *change) unchanged(under string) {
	c.compares = append(c.compares, clientv3.Compare(clientv3.ModRevision(under), "<", c.revision+1).WithPrefix())
}

// present tells which keys are there. That one of them comes or goes meanwhile does not
// stop the change.
func (c *change) present(keys []string) (map[string]bool, error) {
	present := map[string]bool{}
	for some := range slices.Chunk(keys, rangesAtOnce) {
		var ops []clientv3.Op
		for _, key := range some {
			ops = append(ops, clientv3.OpGet(key, clientv3.WithKeysOnly(), clientv3.WithRev(c.revision)))
		}
		ctx, cancel := context.WithTimeout(c.ctx, callTimeout)
		resp, err := c.client.etcd.Txn(ctx).Then(ops...).Commit()
		cancel()
		if err != nil {
			return nil, err
		}
		for i, one := range resp.Responses {
			present[some[i]] = one.GetResponseRange().Count > 0
		}
	}
	return present, nil
}

// put writes a value over what is there, whose unknown fields stay.
func (c *change) put(key Key, v value) error {
	if _, err := c.get(key); err != nil {
		return err
	}
	return c.replace(key, v)
}

// replace is put for a key that this change has read.
func (c *change) replace(key Key, v value) error {
	old := c.values[key]
	raw, err := encode(v, old)
	if err != nil {
		return fmt.Errorf("registry key %s: %w", key, err)
	}
	if !bytes.Equal(raw, old) {
		c.ops = append(c.ops, clientv3.OpPut(key.String(), string(raw)))
	}
	return nil
}

func (c *change) delete(key Key) { c.ops = append(c.ops, clientv3.OpDelete(key.String())) }

func (c *change) deleteAll(under string) {
	c.ops = append(c.ops, clientv3.OpDelete(under, clientv3.WithPrefix()))
}
