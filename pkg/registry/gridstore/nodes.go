package gridstore

import (
	"context"
	"fmt"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Listed is a node of the grid, as a list of all shows it.
type Listed struct {
	Node
	Networks []string // that it says it carries, by name; not proven
	Problem  error    // why its certificate or its record is not believed; nil: it is, or there is none
}

// ProblemOf says why a node's certificate or its record is not believed; nil: it is, or
// there is none.
func (s *Snapshot) ProblemOf(node string) error {
	for _, kind := range []Kind{KindCertificate, KindRecord} {
		key := Key{Kind: kind, Node: node}.String()
		if i, refused := slices.BinarySearchFunc(s.Problems, key, func(p Problem, key string) int { return strings.Compare(p.Key, key) }); refused {
			return fmt.Errorf("registry key %s: %w", key, s.Problems[i].Err)
		}
	}
	return nil
}

// Nodes reads who is in the grid from the registry as it is now, by name. A node's
// record is proven, a node that has none, or whose record is not believed, is there
// without one.
func (c *Client) Nodes(ctx context.Context) ([]Listed, error) {
	roster, err := c.Roster(ctx)
	if err != nil {
		return nil, err
	}
	r := c.newReading()
	ranges, parts := []string{membersRoot}, []string{}
	for _, a := range roster {
		if CheckNode(a.Node) == nil {
			ranges = append(ranges, personOf(a.Node)...)
			parts = append(parts, below(a.Node, KindPart, ""))
		}
	}
	if err := r.take(ctx, ranges); err != nil {
		return nil, err
	}
	networks, err := r.names(ctx, parts)
	if err != nil {
		return nil, err
	}
	known, now := c.Snapshot(), r.snapshot()
	list := make([]Listed, 0, len(roster))
	for _, a := range roster {
		l := Listed{Node: Node{Name: a.Node}, Networks: networks[a.Node], Problem: now.ProblemOf(a.Node)}
		if n := now.Nodes[a.Node]; n != nil {
			l.Node = *n
		}
		if n := known.Nodes[a.Node]; n != nil && !l.Live {
			l.Left = n.Left
		}
		l.Admitted = &a
		list = append(list, l)
	}
	return list, nil
}

// names reads the last parts of keys, by node.
func (r *reading) names(ctx context.Context, ranges []string) (map[string][]string, error) {
	all := map[string][]string{}
	for len(ranges) > 0 {
		now := ranges[:min(len(ranges), rangesAtOnce)]
		ranges = ranges[len(now):]
		responses, err := r.get(ctx, now, clientv3.WithKeysOnly())
		if err != nil {
			return nil, err
		}
		for _, one := range responses {
			for _, kv := range one.Kvs {
				if k, err := ParseKey(string(kv.Key)); err == nil {
					all[k.Node] = append(all[k.Node], k.Network)
				}
			}
		}
	}
	return all, nil
}
