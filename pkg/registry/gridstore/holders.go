package gridstore

import (
	"context"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/trust"
)

// Holdings reads what every node of the grid holds, by node, all at one revision;
// who holds nothing is left out. Everything in it is proven, but nothing remembered:
// that is for what concerns this node.
func (c *Client) Holdings(ctx context.Context) (map[string]ipam.Holding, error) {
	roster, err := c.Roster(ctx)
	if err != nil {
		return nil, err
	}
	at, err := c.place(ctx)
	if err != nil {
		return nil, fmt.Errorf("read who holds prefixes: %w", err)
	}
	var ranges []string
	for _, a := range roster {
		ranges = append(ranges, below(a.Node, KindRegistration, ""))
	}
	registered, err := c.rangesAt(ctx, ranges, at.revision)
	if err != nil {
		return nil, err
	}
	ranges = nil
	for i, a := range roster {
		if len(registered[i]) > 0 {
			ranges = append(ranges, Key{Kind: KindCertificate, Node: a.Node}.String(), below(a.Node, KindDelegation, ""))
		}
	}
	rest, err := c.rangesAt(ctx, ranges, at.revision)
	if err != nil {
		return nil, err
	}
	holdings := map[string]ipam.Holding{}
	for i, a := range roster {
		if len(registered[i]) == 0 {
			continue
		}
		certificates, blocks := rest[0], rest[1]
		rest = rest[2:]
		if h, ok := c.provenHolding(a.Node, certificates, append(registered[i], blocks...)); ok {
			holdings[a.Node] = h
		}
	}
	return holdings, nil
}

// provenHolding gives what of these values a node has signed.
func (c *Client) provenHolding(node string, certificates, values []*mvccpb.KeyValue) (ipam.Holding, bool) {
	h := ipam.Holding{Holder: node}
	var id *trust.Identity
	for _, kv := range certificates {
		var cert certificate
		if decode(kv.Value, &cert) == nil {
			id, _ = c.roots().Identity(node, []byte(cert.PEM))
		}
	}
	if id == nil {
		return h, false
	}
	for _, kv := range values {
		k, err := ParseKey(string(kv.Key))
		if err != nil {
			continue
		}
		proven, err := id.Open(kv.Value, k.signedAs(), k.path(), c.now())
		if err != nil {
			continue
		}
		v, err := decodeAs(k, proven.Payload)
		if err != nil {
			continue
		}
		switch v := v.(type) {
		case *registration:
			put(&h.Registrations, k.Prefix, v.ipam(k))
		case *delegation:
			put(&h.Blocks, k.Prefix, v.ipam())
		}
	}
	return h, len(h.Registrations) > 0
}

func (c *Client) roots() *trust.Roots {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.roots
}

// rangesAt reads ranges at a revision, and gives the keys of each.
func (c *Client) rangesAt(ctx context.Context, ranges []string, revision int64) (found [][]*mvccpb.KeyValue, err error) {
	for len(ranges) > 0 {
		now := ranges[:min(len(ranges), rangesAtOnce)]
		ranges = ranges[len(now):]
		resp, err := c.getRanges(ctx, now, revision)
		if err != nil {
			return nil, fmt.Errorf("read the grid's registry: %w", err)
		}
		for _, one := range resp.Responses {
			found = append(found, one.GetResponseRange().Kvs)
		}
	}
	return found, nil
}

func (c *Client) getRanges(ctx context.Context, ranges []string, revision int64) (*clientv3.TxnResponse, error) {
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
	return c.etcd.Txn(ctx).Then(ops...).Commit()
}
