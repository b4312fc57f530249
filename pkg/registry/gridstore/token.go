package gridstore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/zosnet/zosnet/pkg/trust"
)

// PutToken keeps a join token that this node made, as far as it may be known.
func (c *Client) PutToken(ctx context.Context, p trust.PendingToken) error {
	k := Key{Kind: KindToken, Node: c.cfg.Node, Token: p.ID}
	if _, err := ParseKey(k.String()); err != nil {
		return err
	}
	return c.change(ctx, "keep a join token", func(ch *change) error { return ch.put(k, &token{PendingToken: p}) })
}

// Tokens reads the join tokens that this node made, by id, as they are now.
func (c *Client) Tokens(ctx context.Context) ([]trust.PendingToken, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := c.etcd.Get(ctx, below(c.cfg.Node, KindToken, ""), clientv3.WithPrefix())
	if err != nil {
		return nil, fmt.Errorf("read the join tokens of node %s: %w", c.cfg.Node, err)
	}
	var list []trust.PendingToken
	for _, kv := range resp.Kvs {
		var t token
		if err := decode(kv.Value, &t); err != nil {
			return nil, fmt.Errorf("registry key %s: %w", kv.Key, err)
		}
		list = append(list, t.PendingToken)
	}
	slices.SortFunc(list, func(a, b trust.PendingToken) int { return strings.Compare(a.ID, b.ID) })
	return list, nil
}

// TokenUsedError says that a join token has let a node in.
type TokenUsedError struct {
	ID string
	trust.TokenUse
}

func (e *TokenUsedError) Error() string {
	return fmt.Sprintf("node %s joined with token %s at %s: to take it out again, zosnet node remove %s", e.Node, e.ID, e.At.UTC().Format(time.RFC3339), e.Node)
}

// RevokeToken takes a join token that this node made back: nobody can use it from then
// on. One that is used gives a *TokenUsedError; one that is not there is fine.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	k := Key{Kind: KindToken, Node: c.cfg.Node, Token: id}
	if _, err := ParseKey(k.String()); err != nil {
		return err
	}
	return c.change(ctx, "revoke a join token", func(ch *change) error {
		var t token
		found, err := ch.into(k, &t)
		if err != nil || !found {
			return err
		}
		if t.Used != nil {
			return &TokenUsedError{id, *t.Used}
		}
		ch.delete(k)
		return nil
	})
}

// DeleteToken forgets a join token that this node made.
func (c *Client) DeleteToken(ctx context.Context, id string) error {
	k := Key{Kind: KindToken, Node: c.cfg.Node, Token: id}
	if _, err := ParseKey(k.String()); err != nil {
		return err
	}
	return c.change(ctx, "forget a join token", func(ch *change) error { ch.delete(k); return nil })
}

// Token reads a join token that this node made, nil if it made none of that id.
func (c *Client) Token(ctx context.Context, id string) (*trust.PendingToken, error) {
	var t token
	found, err := c.readOne(ctx, Key{Kind: KindToken, Node: c.cfg.Node, Token: id}, &t)
	if !found {
		return nil, err
	}
	return &t.PendingToken, err
}

// Certificate reads a node's certificates, PEM, the newest first; nil if it has
// none. Nothing is proven.
func (c *Client) Certificate(ctx context.Context, node string) ([]byte, error) {
	var cert certificate
	found, err := c.readOne(ctx, Key{Kind: KindCertificate, Node: node}, &cert)
	if !found {
		return nil, err
	}
	return []byte(cert.PEM), err
}

// readOne reads a key from the registry, as it is now.
func (c *Client) readOne(ctx context.Context, k Key, into value) (bool, error) {
	if _, err := ParseKey(k.String()); err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := c.etcd.Get(ctx, k.String())
	if err != nil || len(resp.Kvs) == 0 {
		return false, err
	}
	if err := decode(resp.Kvs[0].Value, into); err != nil {
		return false, fmt.Errorf("registry key %s: %w", k, err)
	}
	return true, checkForm(into)
}

// Roster reads every node's place in the grid, by name, as it is now.
func (c *Client) Roster(ctx context.Context) ([]Admission, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := c.etcd.Get(ctx, rosterRoot, clientv3.WithPrefix())
	if err != nil {
		return nil, fmt.Errorf("read the roster of the grid: %w", err)
	}
	var list []Admission
	for _, kv := range resp.Kvs {
		k, err := ParseKey(string(kv.Key))
		var a admission
		if err == nil {
			err = decode(kv.Value, &a)
		}
		if err != nil {
			return nil, fmt.Errorf("registry key %s: %w", kv.Key, err)
		}
		list = append(list, *a.admission(k.Node))
	}
	slices.SortFunc(list, func(a, b Admission) int { return strings.Compare(a.Node, b.Node) })
	return list, nil
}
