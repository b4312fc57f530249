package gridstore

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/zosnet/zosnet/pkg/ipam"
)

func (r *registration) ipam(k Key) ipam.Registration {
	return ipam.Registration{Prefix: k.Prefix, Holder: k.Node, Source: r.Source, Contact: r.Contact, Registered: r.Registered}
}

func (d *delegation) ipam() ipam.Delegation { return ipam.Delegation{Node: d.Node, Until: d.Until} }

func (r *request) ipam() ipam.Request {
	return ipam.Request{Holder: r.Holder, Blocks: r.Blocks, Bits: r.Bits, Others: r.Others, Release: r.Release}
}

// UpdateHolding changes what this node holds, in one transaction. compute gets it
// as it is now and gives it as it is to be; it is called again when something of
// it, or of what it asked the others for, changed meanwhile. Its error is given as
// it is.
func (c *Client) UpdateHolding(ctx context.Context, compute func(ipam.Holding, *Others) (ipam.Holding, error)) (ipam.Holding, error) {
	var next ipam.Holding
	var last *change
	err := c.change(ctx, "change what this node holds", func(ch *change) error {
		last = ch
		now, err := ch.holding()
		if err != nil {
			return err
		}
		next, err = compute(now, &Others{ch})
		switch {
		case err == nil:
			return ch.putHolding(now, next)
		case again(err): // it asked for the others
			return err
		}
		return &computeError{err}
	})
	if failed, ok := errors.AsType[*computeError](err); ok {
		err = failed.err
	}
	if err == nil {
		c.note(last)
	}
	return next, err
}

// note remembers a change of what this node holds or asks.
func (c *Client) note(ch *change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrote = max(c.wrote, ch.revision)
}

// Heard tells whether a snapshot is as new as what UpdateHolding and PutRequest did last.
// One that is not does not know yet what this node holds, or what it asks.
func (c *Client) Heard(s Snapshot) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return s.Revision >= c.wrote
}

// computeError carries a caller's error through a change.
type computeError struct{ err error }

func (e *computeError) Error() string { return e.err.Error() }

// holding reads what this node holds.
func (c *change) holding() (ipam.Holding, error) {
	self := c.client.cfg.Node
	h := ipam.Holding{Holder: self, Registrations: map[netip.Prefix]ipam.Registration{}, Blocks: map[netip.Prefix]ipam.Delegation{}}
	for _, kind := range []Kind{KindRegistration, KindDelegation} {
		kvs, err := c.list(below(self, kind, ""))
		if err != nil {
			return h, err
		}
		for _, kv := range kvs {
			k, v, err := c.client.own(string(kv.Key), kv.Value)
			if err != nil {
				return h, err
			}
			switch v := v.(type) {
			case *registration:
				h.Registrations[k.Prefix] = v.ipam(k)
			case *delegation:
				h.Blocks[k.Prefix] = v.ipam()
			}
		}
	}
	return h, nil
}

func (c *change) putHolding(now, next ipam.Holding) error {
	self := c.client.cfg.Node
	for p, r := range next.Registrations {
		if old, same := now.Registrations[p]; same && old == r {
			continue
		}
		v := &registration{Source: r.Source, Contact: r.Contact, Registered: r.Registered.UTC()}
		if err := c.sign(Key{Kind: KindRegistration, Node: self, Prefix: p}, v); err != nil {
			return err
		}
	}
	for p, d := range next.Blocks {
		if old, same := now.Blocks[p]; same && old == d {
			continue
		}
		v := &delegation{Node: d.Node, Until: d.Until}
		if err := c.sign(Key{Kind: KindDelegation, Node: self, Prefix: p}, v); err != nil {
			return err
		}
	}
	for p := range now.Registrations {
		if _, kept := next.Registrations[p]; !kept {
			c.delete(Key{Kind: KindRegistration, Node: self, Prefix: p})
		}
	}
	for p := range now.Blocks {
		if _, kept := next.Blocks[p]; !kept {
			c.delete(Key{Kind: KindDelegation, Node: self, Prefix: p})
		}
	}
	return nil
}

// PutRequest says what this node asks of a holder. What that one and the request's
// Others delegate is among what this node hears of from then on. was is what the request
// was computed from, nil if there was none: if this node asks something else already,
// nothing is changed, and it hears of that.
func (c *Client) PutRequest(ctx context.Context, was *ipam.Request, r ipam.Request) error {
	for _, holder := range append([]string{r.Holder}, r.Others...) {
		if err := CheckNode(holder); err != nil {
			return err
		}
	}
	var last *change
	err := c.change(ctx, fmt.Sprintf("ask node %s for blocks", r.Holder), func(ch *change) error {
		last = ch
		k := c.self(KindRequest)
		is, revision := c.asked(k)
		if (is == nil) != (was == nil) || is != nil && !is.Same(*was) {
			return nil
		}
		ch.compares = append(ch.compares, clientv3.Compare(clientv3.ModRevision(k.String()), "=", revision))
		v := &request{Holder: r.Holder, Blocks: r.Blocks, Bits: r.Bits, Others: slices.Clone(r.Others), Release: slices.Clone(r.Release)}
		return ch.sign(k, v)
	})
	if err == nil {
		c.note(last)
	}
	return err
}

// asked gives a request as the copy has it, nil if there is none, and the revision that
// its key had then, also if what it had was not believed.
func (c *Client) asked(k Key) (*ipam.Request, int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	refused := c.state.refused[k.String()].revision
	e := c.state.find(k)
	if e == nil {
		return nil, refused
	}
	r := e.value.(*request).ipam()
	return &r, max(e.revision, refused)
}
