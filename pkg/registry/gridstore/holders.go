package gridstore

import (
	"context"
	"fmt"
	"maps"
	"slices"

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
	var nodes []string
	for _, a := range roster {
		nodes = append(nodes, a.Node)
	}
	return c.holdingsAt(ctx, nodes, at.revision)
}

// holdingsAt reads what nodes hold at a revision. Who holds nothing any more, but has
// blocks that are used or rest still, is among them.
func (c *Client) holdingsAt(ctx context.Context, nodes []string, revision int64) (map[string]ipam.Holding, error) {
	var ranges []string
	for _, node := range nodes {
		ranges = append(ranges, holdingOf(node)...)
	}
	values, err := c.rangesAt(ctx, ranges, revision)
	if err != nil {
		return nil, err
	}
	signed := map[string][]*mvccpb.KeyValue{}
	var holders, certificates []string
	for i, node := range nodes {
		if all := slices.Concat(values[2*i], values[2*i+1]); len(all) > 0 {
			signed[node] = all
			holders = append(holders, node)
			certificates = append(certificates, Key{Kind: KindCertificate, Node: node}.String())
		}
	}
	if values, err = c.rangesAt(ctx, certificates, revision); err != nil {
		return nil, err
	}
	holdings := map[string]ipam.Holding{}
	for i, node := range holders {
		if h, ok := c.provenHolding(node, values[i], signed[node]); ok {
			holdings[node] = h
		}
	}
	return holdings, nil
}

// holdingOf are the two ranges of what a node holds.
func holdingOf(node string) []string {
	return []string{below(node, KindRegistration, ""), below(node, KindDelegation, "")}
}

// Others is what of other nodes a change of this node's holding may be computed from.
// What it was asked for is still so when the change is committed.
type Others struct{ change *change }

// Holdings reads what all others hold, as Client.Holdings does. So two nodes that
// register overlapping prefixes at one moment are never both stored: whoever is second
// is computed again, and sees the first.
func (o *Others) Holdings() ([]ipam.Holding, error) {
	kvs, err := o.change.list(rosterRoot)
	if err != nil {
		return nil, err
	}
	var nodes []string
	for _, kv := range kvs {
		k, err := ParseKey(string(kv.Key))
		if err != nil || k.Node == o.change.client.cfg.Node {
			continue
		}
		nodes = append(nodes, k.Node)
		for _, r := range holdingOf(k.Node) {
			o.change.unchanged(r)
		}
	}
	holdings, err := o.change.client.holdingsAt(o.change.ctx, nodes, o.change.revision)
	return slices.Collect(maps.Values(holdings)), err
}

// Request gives what a node asks, as this one has heard; false where it asks for
// nothing. A node that has meanwhile asked for something else makes the change be
// computed again: what it gave back it may be using by then.
func (o *Others) Request(node string) (ipam.Request, bool) {
	k := Key{Kind: KindRequest, Node: node}
	r, revision := o.change.client.asked(k)
	if r == nil {
		return ipam.Request{}, false
	}
	o.change.compares = append(o.change.compares, clientv3.Compare(clientv3.ModRevision(k.String()), "=", revision))
	return *r, true
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
	return h, len(h.Registrations)+len(h.Blocks) > 0
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
		if r == spansOf(c.cfg.Node) {
			opts = append(opts, clientv3.WithLimit(mostSpans))
		}
		ops = append(ops, clientv3.OpGet(r, opts...))
	}
	return c.etcd.Txn(ctx).Then(ops...).Commit()
}
