package plan

import (
	"reflect"
	"slices"

	"github.com/zosnet/zosnet/pkg/policy"
)

// ChangedNetworks gives, sorted, the networks of which two states of a node differ in
// rules, in peers or in the addresses of workloads on other nodes. only tells that
// nothing else differs that the kernel hears of: else there is more to compare than
// these networks.
func ChangedNetworks(from, to State) (names []string, only bool) {
	here, before := from.splitBindings()
	hereNow, after := to.splitBindings()
	if !slices.Equal(from.Workloads, to.Workloads) || !slices.Equal(here, hereNow) ||
		!reflect.DeepEqual(from.withoutPeers(), to.withoutPeers()) {
		return nil, false
	}
	for i, n := range to.Networks {
		if !reflect.DeepEqual(from.Networks[i].Policy, n.Policy) || !slices.Equal(before[n.ID], after[n.ID]) {
			names = append(names, n.Name)
		}
	}
	for i, o := range to.Overlays {
		if !reflect.DeepEqual(from.Overlays[i], o) {
			names = append(names, o.Network)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), true
}

// withoutPeers is the state without what ChangedNetworks compares by itself, and
// without what is for people and for resolvers.
func (s State) withoutPeers() State {
	s.Networks, s.Overlays = slices.Clone(s.Networks), slices.Clone(s.Overlays)
	for i := range s.Networks {
		s.Networks[i].Policy = policy.Program{}
	}
	for i := range s.Overlays {
		o := &s.Overlays[i]
		o.Peers, o.Needed, o.MTU = nil, nil, 0 // it follows from the ways to them
	}
	s.Workloads, s.Bindings, s.Resolvers, s.Ignored = nil, nil, nil, nil
	return s
}

// splitBindings gives the addresses here, and those on other nodes by network id.
func (s State) splitBindings() (here []Binding, elsewhere map[uint32][]Binding) {
	here, elsewhere = make([]Binding, 0, len(s.Bindings)), make(map[uint32][]Binding, len(s.Networks))
	remote := make([]Binding, 0, len(s.Bindings))
	for _, b := range s.Bindings {
		if !b.Remote {
			here = append(here, b)
			continue
		}
		remote = append(remote, b)
		first := len(remote) - 1 - len(elsewhere[b.NetworkID]) // they are by network
		elsewhere[b.NetworkID] = remote[first:]
	}
	return here, elsewhere
}

// Of is the state of some networks alone: what of them is in the kernel, without what
// belongs to the node as a whole.
func (s State) Of(networks []string) State {
	of := State{Node: s.Node}
	ids := map[uint32]bool{}
	for _, n := range s.Networks {
		if slices.Contains(networks, n.Name) {
			of.Networks, ids[n.ID] = append(of.Networks, n), true
		}
	}
	for _, w := range s.Workloads {
		if ids[w.NetworkID] {
			of.Workloads = append(of.Workloads, w)
		}
	}
	for _, o := range s.Overlays {
		if ids[o.NetworkID] {
			of.Overlays = append(of.Overlays, o)
		}
	}
	for _, b := range s.Bindings {
		if ids[b.NetworkID] {
			of.Bindings = append(of.Bindings, b)
		}
	}
	return of
}
