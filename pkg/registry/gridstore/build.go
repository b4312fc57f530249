package gridstore

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/trust"
)

// publish makes the next snapshot and tells whether it differs from the last one.
func (s *state) publish() (changed bool) {
	next := s.snapshot
	problems := s.problems()
	changed = len(s.dirty) > 0 || !slices.EqualFunc(problems, next.Problems, func(a, b Problem) bool {
		return a.Key == b.Key && a.Err.Error() == b.Err.Error()
	})
	next.Problems = problems
	if len(s.dirty) > 0 {
		next.Nodes, next.Networks, next.Carried = maps.Clone(next.Nodes), maps.Clone(next.Networks), maps.Clone(next.Carried)
	}
	for g := range s.dirty {
		if g == ofTrust {
			next.Revocations, next.Recovery = s.roots.Revocations(), 0
			if e := s.find(Key{Kind: KindRecovery}); e != nil {
				next.Recovery = e.value.(*recovery).Number
			}
			continue
		}
		if g.network {
			set(next.Networks, g.name, s.network(g))
			set(next.Carried, g.name, s.carriedDocument(g))
		} else {
			set(next.Nodes, g.name, s.node(g))
		}
	}
	clear(s.dirty)
	s.snapshot = next
	return changed
}

func set[V any](m map[string]*V, name string, v *V) {
	if v == nil {
		delete(m, name)
		return
	}
	m[name] = v
}

func (s *state) problems() []Problem {
	var list []Problem
	for key, r := range s.refused {
		list = append(list, Problem{Key: key, Err: r.err})
	}
	for key := range s.missing {
		if _, also := s.refused[key]; !also {
			list = append(list, Problem{Key: key, Err: ErrMissing})
		}
	}
	slices.SortFunc(list, func(a, b Problem) int { return strings.Compare(a.Key, b.Key) })
	return list
}

// ErrMissing is the problem of a document that is believed and that the registry has
// no more.
var ErrMissing = errors.New("the registry has it no more, and its owner has not released it: what was known stays, and is put back")

// carriedDocument gives the document of a network that this node carries.
func (s *state) carriedDocument(g group) *Document {
	e := s.groups[g][Key{Kind: KindDocument, Network: g.name}]
	if e == nil || !s.scope.carried[g.name] {
		return nil
	}
	return e.value.(*Document)
}

func (s *state) node(g group) *Node {
	keys := s.groups[g]
	if len(keys) == 0 {
		return nil
	}
	n := &Node{Name: g.name, Identity: s.identities[g.name], Holding: ipam.Holding{Holder: g.name}, Left: s.left[g.name]}
	for k, e := range keys {
		switch v := e.value.(type) {
		case *Record:
			n.Record = v
		case *live:
			n.Live, n.Since = true, v.Since
		case *registration:
			put(&n.Holding.Registrations, k.Prefix, v.ipam(k))
			put(&n.Registered, k.Prefix, e.revision)
		case *delegation:
			put(&n.Holding.Blocks, k.Prefix, v.ipam())
		case *request:
			r := v.ipam()
			n.Request = &r
		case *admission:
			n.Admitted = v.admission(g.name)
		case *removal:
			n.Removed = v.At
		case *member:
			n.Member, n.Joining = v.Client, v.Cluster
		case *token:
			n.Tokens = append(n.Tokens, v.PendingToken)
		}
	}
	slices.SortFunc(n.Tokens, func(a, b trust.PendingToken) int { return strings.Compare(a.ID, b.ID) })
	return n
}

func put[K comparable, V any](m *map[K]V, k K, v V) {
	if *m == nil {
		*m = map[K]V{}
	}
	(*m)[k] = v
}

// network gives a network that names this node, or that it carries, nil if there is
// none.
func (s *state) network(g group) *Network {
	keys := s.groups[g]
	document := keys[Key{Kind: KindDocument, Network: g.name}]
	if !s.scope.concerns(g.name, keys) || document == nil || document.value.(*Document).Released {
		return nil
	}
	n := &Network{Name: g.name}
	for k, e := range keys {
		n.Revision = max(n.Revision, e.revision)
		switch v := e.value.(type) {
		case *Document:
			n.Document = v
		case *Part:
			put(&n.Parts, k.Node, v)
		case *Attachment:
			put(&n.Attachments, k.Node, append(n.Attachments[k.Node], *v))
		case *Binding:
			put(&n.Bindings, k.Node, append(n.Bindings[k.Node], *v))
		}
	}
	for _, list := range n.Attachments {
		slices.SortFunc(list, func(a, b Attachment) int { return strings.Compare(a.Workload, b.Workload) })
	}
	for _, list := range n.Bindings {
		slices.SortFunc(list, func(a, b Binding) int {
			return cmp.Or(strings.Compare(a.Workload, b.Workload), a.Address.Compare(b.Address))
		})
	}
	return n
}
