package gridstore

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/zosnet/zosnet/pkg/trust"
)

// judgeRevoked judges again what was believed of nodes before a certificate of
// theirs was revoked. What only that one vouches for is refused from then on.
func (s *state) judgeRevoked() {
	fallen := map[string]*trust.Identity{}
	for _, all := range s.groups {
		for k, e := range all {
			c, is := e.value.(*certificate)
			if !is {
				continue
			}
			id, err := s.roots.Identity(k.Node, []byte(c.PEM))
			if err != nil || !id.Revoked() {
				continue
			}
			s.identities[k.Node], fallen[k.Node] = id, id
			s.dirty[group{false, k.Node}] = true
		}
	}
	now := s.now()
	for _, all := range s.groups {
		for k, e := range all {
			id := fallen[k.Node]
			if id == nil || k.signedAs() == "" {
				continue
			}
			if _, err := id.Open(e.raw, k.signedAs(), k.path(), now); err != nil {
				s.drop(k.String())
				s.refused[k.String()] = refusal{e.raw, e.revision, err}
			}
		}
	}
}

// Roots gives whom this node believes now, with the newest revocation list that it
// has seen.
func (c *Client) Roots() *trust.Roots {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.roots
}

// Revocations reads the grid's revocation list, PEM, as it is in the registry now;
// nil if there is none. Nothing is proven.
func (c *Client) Revocations(ctx context.Context) ([]byte, error) {
	var r revoked
	found, err := c.readOne(ctx, Key{Kind: KindRevocations}, &r)
	if !found {
		return nil, err
	}
	return []byte(r.PEM), err
}

// Issued reads the certificates that the CA made for a node and that have not
// ended, PEM, the newest last; nil if there are none. Nothing is proven.
func (c *Client) Issued(ctx context.Context, node string) ([]byte, error) {
	var i issued
	found, err := c.readOne(ctx, Key{Kind: KindIssued, Node: node}, &i)
	if !found {
		return nil, err
	}
	return []byte(i.PEM), err
}

// PutRevocations publishes the grid's revocation list (PEM) in place of the one
// that it was made from, nil if that was none. ErrStale when another is there.
func (r Root) PutRevocations(ctx context.Context, from, list []byte) error {
	return r.do(ctx, func(ctx context.Context, etcd *clientv3.Client) error {
		key := Key{Kind: KindRevocations}
		resp, err := etcd.Get(ctx, key.String())
		if err != nil {
			return fmt.Errorf("publish the grid's revocation list: %w", err)
		}
		var is revoked
		var at int64
		if len(resp.Kvs) == 1 {
			at = resp.Kvs[0].ModRevision
			if err := decode(resp.Kvs[0].Value, &is); err != nil {
				return fmt.Errorf("registry key %s: %w", key, err)
			}
		}
		if is.PEM != string(from) {
			return fmt.Errorf("publish the grid's revocation list: %w", ErrStale)
		}
		t := rootTxn{ctx: ctx, etcd: etcd}
		t.compares = append(t.compares, clientv3.Compare(clientv3.ModRevision(key.String()), "=", at))
		t.put(key, &revoked{PEM: string(list)})
		if err := t.commit(); err != nil {
			return fmt.Errorf("publish the grid's revocation list: %w", err)
		}
		return nil
	})
}
