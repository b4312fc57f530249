package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// maxAttempts bounds how often a change is computed again because what it was
// computed from has changed meanwhile.
const maxAttempts = 10

// change is one transaction being put together: it reads at one revision,
// remembers what it read, and is committed only if that still holds.
type change struct {
	ctx      context.Context
	store    *Store
	revision int64 // of everything read; 0 before the first read
	compares []clientv3.Cmp
	ops      []clientv3.Op
	adds     bool
	size     int
}

// change computes and commits a transaction and gives its revision. compute is
// called again, with a new change, when others were faster. A change without
// operations commits nothing and gives the revision that it read at.
func (s *Store) change(ctx context.Context, compute func(*change) error) (int64, error) {
	select {
	case s.writer <- struct{}{}:
		defer func() { <-s.writer }()
	case <-s.closing:
		return 0, ErrClosed
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	for range maxAttempts {
		c := &change{ctx: ctx, store: s}
		revision, err := c.run(compute)
		if !errors.Is(err, errStale) {
			return revision, err
		}
	}
	return 0, fmt.Errorf("change the registry: others changed it %d times meanwhile; try again", maxAttempts)
}

// errStale says that something the change was computed from has changed.
var errStale = errors.New("stale read")

func (c *change) run(compute func(*change) error) (int64, error) {
	if err := compute(c); err != nil {
		if errors.Is(err, rpctypes.ErrCompacted) {
			return 0, errStale
		}
		return 0, err
	}
	if len(c.ops) == 0 {
		return c.revision, nil
	}
	need := uint64(spaceToRemove)
	if c.adds {
		need = spaceToAdd
	}
	if err := wantSpace(c.store.dir, need); err != nil {
		return 0, err
	}
	revision, err := c.commit()
	if errors.Is(err, rpctypes.ErrNoSpace) { // the database's quota, not the disk
		if err := c.store.clearAlarm(c.ctx); err != nil {
			return 0, err
		}
		revision, err = c.commit()
	}
	switch {
	case err == nil, errors.Is(err, errStale):
		return revision, err
	case errors.Is(err, rpctypes.ErrNoSpace):
		return 0, fmt.Errorf("change the registry in %s: its database has reached %d MiB; delete networks that are not needed: %w",
			c.store.dir, quotaBytes>>20, err)
	case errors.Is(err, rpctypes.ErrRequestTooLarge):
		return 0, fmt.Errorf("change the registry: the change has %d bytes and may have %d; apply fewer documents at once: %w",
			c.size, maxRequestBytes, err)
	}
	return 0, fmt.Errorf("change the registry in %s: %w", c.store.dir, err)
}

func (c *change) commit() (int64, error) {
	resp, err := call(c.ctx, c.store, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return c.store.client.Txn(ctx).If(c.compares...).Then(c.ops...).Commit()
	})
	if err != nil {
		return 0, err
	}
	if !resp.Succeeded {
		return 0, errStale
	}
	return resp.Header.Revision, nil
}

func (c *change) read(key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	if c.revision != 0 {
		opts = append(opts, clientv3.WithRev(c.revision))
	}
	resp, err := call(c.ctx, c.store, func(ctx context.Context) (*clientv3.GetResponse, error) {
		return c.store.client.Get(ctx, key, opts...)
	})
	if err != nil {
		return nil, fmt.Errorf("read %s from the registry: %w", key, err)
	}
	if c.revision == 0 {
		c.revision = resp.Header.Revision
	}
	return resp, nil
}

// get decodes the value of a key and tells its mod revision, 0 if there is none.
// The change is committed only if the key is still the same, or still missing.
func (c *change) get(key string, into any) (int64, error) {
	resp, err := c.read(key)
	if err != nil {
		return 0, err
	}
	var revision int64
	if len(resp.Kvs) == 1 {
		revision = resp.Kvs[0].ModRevision
		err = decode(key, resp.Kvs[0].Value, into)
	}
	c.compares = append(c.compares, clientv3.Compare(clientv3.ModRevision(key), "=", revision))
	return revision, err
}

// list reads every key under a prefix. The change is committed only if none was
// added or changed since; one may have gone, which no caller minds: it only
// frees a number or a name.
func (c *change) list(prefix string, each func(rest string, kv *mvccpb.KeyValue) error) error {
	resp, err := c.read(prefix, clientv3.WithPrefix())
	if err != nil {
		return err
	}
	unchanged := clientv3.Compare(clientv3.ModRevision(prefix), "<", c.revision+1).WithPrefix()
	c.compares = append(c.compares, unchanged)
	for _, kv := range resp.Kvs {
		if err := each(string(kv.Key[len(prefix):]), kv); err != nil {
			return err
		}
	}
	return nil
}

func (c *change) put(key string, value any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode registry key %s: %w", key, err)
	}
	c.ops = append(c.ops, clientv3.OpPut(key, string(raw)))
	c.size += len(key) + len(raw)
	c.adds = true
	return nil
}

func (c *change) delete(key string) { c.ops = append(c.ops, clientv3.OpDelete(key)) }
func (c *change) deleteAll(under string) {
	c.ops = append(c.ops, clientv3.OpDelete(under, clientv3.WithPrefix()))
}

// ipam reads what has been allocated.
func (c *change) ipam() (ipamState, error) {
	st := newIPAMState()
	for _, r := range []string{prefixesRoot, networkIDsRoot} {
		err := c.list(r, func(rest string, kv *mvccpb.KeyValue) error { return st.add(r, rest, kv.Value) })
		if err != nil {
			return st, err
		}
	}
	var counter counterValue
	if _, err := c.get(serviceCounterKey, &counter); err != nil {
		return st, err
	}
	st.NextService = counter.Next
	return st, nil
}

// attachments reads a network's workloads, by name.
func (c *change) attachments(network string) ([]Attachment, error) {
	var out []Attachment
	err := c.list(attachmentsOf(network), func(rest string, kv *mvccpb.KeyValue) error {
		var v attachmentValue
		if err := decode(string(kv.Key), kv.Value, &v); err != nil {
			return err
		}
		out = append(out, v.attachment(network, rest))
		return nil
	})
	return out, err
}

// names gives the workloads' names, sorted.
func names(list []Attachment) []string {
	var out []string
	for _, a := range list {
		out = append(out, a.Name)
	}
	slices.Sort(out)
	return out
}
