package plan

import (
	"maps"
	"reflect"
	"slices"
	"sync"

	"github.com/zosnet/zosnet/pkg/spec"
)

// Memo remembers what was found for each network, and from what, so that a plan in
// which one network has changed costs one network. It is no part of what a plan means:
// with any Memo, the same input gives the same state. The zero Memo remembers nothing.
//
// States that came with one Memo have in common what is the same in them: nobody may
// write into one. Several goroutines may use a Memo, one after the other.
type Memo struct {
	mu       sync.Mutex
	node     *spec.Node // what of it concerns networks
	networks map[string]*remembered
}

type remembered struct {
	from  networkInput
	state State
}

// compute gives the states of networks, and forgets all others.
func (m *Memo) compute(inputs []networkInput) (states []*State, errs []error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := make(map[string]*remembered, len(inputs))
	for i, in := range inputs {
		if i == 0 && !reflect.DeepEqual(in.Node, m.node) { // all have one
			m.node, m.networks = in.Node, nil
		}
		name := in.record().Document.Name
		is := m.networks[name]
		if is == nil || !is.from.same(in) {
			state, err := in.compute()
			if err != nil {
				errs = append(errs, err)
				continue
			}
			is = &remembered{in, state}
		}
		next[name] = is
		states = append(states, &is.state)
	}
	m.networks = next
	return states, errs
}

// same tells whether two inputs for networks of one node are the same. Documents are if
// they are one: what was decoded is never changed.
func (in networkInput) same(as networkInput) bool {
	return in.MTU == as.MTU &&
		slices.EqualFunc(in.Networks, as.Networks, Record.same) &&
		slices.Equal(in.Attachments, as.Attachments) &&
		slices.Equal(in.Learned, as.Learned) &&
		slices.EqualFunc(in.Nodes, as.Nodes, Node.same) &&
		slices.EqualFunc(in.Parts, as.Parts, Part.same) &&
		slices.EqualFunc(in.Remote, as.Remote, Remote.same) &&
		slices.Equal(in.Sessions, as.Sessions) &&
		slices.Equal(in.Entrances, as.Entrances) &&
		maps.EqualFunc(in.services, as.services, maps.Equal)
}

func (r Record) same(as Record) bool {
	return r.Document == as.Document && r.ID == as.ID && r.Prefix == as.Prefix &&
		maps.Equal(r.Services, as.Services) && maps.Equal(r.Access, as.Access)
}

func (n Node) same(as Node) bool {
	return n.Name == as.Name && n.Endpoint == as.Endpoint && n.Silent == as.Silent && n.Gone == as.Gone && slices.Equal(n.Blocks, as.Blocks)
}

func (p Part) same(as Part) bool {
	next, other := p.Next, as.Next
	p.Next, as.Next = nil, nil
	return p == as && (next == other || next != nil && other != nil && *next == *other)
}

func (r Remote) same(as Remote) bool {
	return r.Network == as.Network && r.Service == as.Service && r.Name == as.Name && r.Node == as.Node &&
		slices.Equal(r.Addresses, as.Addresses)
}
