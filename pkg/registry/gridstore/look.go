package gridstore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/zosnet/zosnet/pkg/trust"
)

// reading is what somebody asked for once, besides the copy: of one revision, proven
// as the copy is, and forgotten afterwards.
type reading struct {
	client   *Client
	state    *state
	revision int64 // of everything read; 0 before the first read
}

func (c *Client) newReading() *reading {
	j := judge{roots: c.cfg.Roots, accept: trust.Accept{}, now: c.now}.fresh()
	return &reading{client: c, state: newState(j, newScope("", nil))}
}

// take reads ranges into the reading.
func (r *reading) take(ctx context.Context, ranges []string) error {
	for len(ranges) > 0 {
		now := ranges[:min(len(ranges), rangesAtOnce)]
		ranges = ranges[len(now):]
		responses, err := r.get(ctx, now)
		if err != nil {
			return err
		}
		for i, one := range responses {
			r.state.replace(now[i], one.Kvs)
		}
	}
	r.state.retry()
	return nil
}

// get reads ranges at the reading's revision.
func (r *reading) get(ctx context.Context, ranges []string, opts ...clientv3.OpOption) ([]*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var ops []clientv3.Op
	for _, under := range ranges {
		with := append([]clientv3.OpOption{clientv3.WithRev(r.revision)}, opts...)
		if isPrefix(under) {
			with = append(with, clientv3.WithPrefix())
		}
		ops = append(ops, clientv3.OpGet(under, with...))
	}
	resp, err := r.client.etcd.Txn(ctx).Then(ops...).Commit()
	if err != nil {
		return nil, fmt.Errorf("read the grid's registry: %w", err)
	}
	if r.revision == 0 {
		r.revision = resp.Header.Revision
	}
	list := make([]*clientv3.GetResponse, len(resp.Responses))
	for i, one := range resp.Responses {
		list[i] = (*clientv3.GetResponse)(one.GetResponseRange())
	}
	return list, nil
}

// Look reads one network from the registry as it is now, whether it concerns this
// node or not: its document, if there is one, and what the nodes that this names, and
// some more, have of it. A document that a newer zosnet wrote is an error. It is proven like a snapshot, but against no memory: an old
// value that is shown again is not noticed. So it is for people, and never enforced.
func (c *Client) Look(ctx context.Context, network string, nodes []string) (Snapshot, error) {
	if err := checkName("network", network); err != nil {
		return Snapshot{}, err
	}
	r := c.newReading()
	document := Key{Kind: KindDocument, Network: network}
	if err := r.take(ctx, []string{document.String()}); err != nil {
		return Snapshot{}, err
	}
	if err, newer := errors.AsType[*VersionError](r.state.refused[document.String()].err); newer {
		return Snapshot{}, newerDocument(network, err)
	}
	if e := r.state.find(document); e != nil {
		nodes = append(slices.Clone(nodes), e.value.(*Document).Nodes...)
	}
	nodes = slices.Compact(slices.Sorted(slices.Values(nodes)))
	var ranges []string
	for _, node := range nodes[:min(len(nodes), mostNodes)] {
		if CheckNode(node) == nil {
			ranges = append(append(ranges, personOf(node)...), Key{Kind: KindPart, Node: node, Network: network}.String(),
				below(node, KindAttachment, network), below(node, KindBinding, network))
		}
	}
	if err := r.take(ctx, ranges); err != nil {
		return Snapshot{}, err
	}
	// What the network's parts refer to, as for a node that it names.
	g := group{network: true, name: network}
	r.state.keep(Key{Kind: KindSpan, Network: network}, &entry{value: &span{}})
	ranges = slices.DeleteFunc(r.state.scope.ofNetwork(network, r.state.groups[g]), func(k string) bool { return slices.Contains(ranges, k) })
	if err := r.take(ctx, ranges); err != nil {
		return Snapshot{}, err
	}
	return r.snapshot(), nil
}

func (r *reading) snapshot() Snapshot {
	r.state.publish()
	s := r.state.snapshot
	s.Revision, s.Source, s.Confirmed = r.revision, SourceCluster, r.client.now()
	return s
}
