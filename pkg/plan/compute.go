package plan

import (
	"cmp"
	"errors"
	"slices"

	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/spec"
)

const (
	ethernetMTU = 1500 // bytes
	minimumMTU  = 1280 // bytes; a link below carries no IPv6 (RFC 8200, 5)
)

// Compute gives the whole desired state of a node. Networks that do not span the
// node have no part in it, nor do their workloads. The error lists everything in
// the input that does not fit together.
func Compute(in Input) (State, error) { return new(Memo).Compute(in) }

// Compute is the function of that name, and the Memo remembers what it found.
func (m *Memo) Compute(in Input) (State, error) {
	blocks, err := ipam.ParseBlocks(in.Node.Prefixes)
	if err != nil {
		return State{}, err
	}
	if err := in.check(); err != nil {
		return State{}, err
	}
	in, apart := in.apart()
	states, errs := m.compute(in.byNetwork())
	if len(errs) > 0 {
		return State{}, errors.Join(errs...)
	}
	s := join(states)
	s.Ignored = append(apart, s.Ignored...)
	s.Node, s.Uplinks = in.Node.Name, slices.Sorted(slices.Values(in.Node.Uplinks))
	for i := range s.Networks {
		s.Networks[i].FlowSets = flowSets(in.FlowSets, in.FlowShares, uint32(len(s.Networks)))
	}
	s.Prefixes = prefixes(blocks, s.Networks)
	s.Lockdown, s.Trial = in.lockdown(openings(s.Overlays, s.Entrances))
	return s, checkInterfaces(&s)
}

// join gives the state of all networks together. They are by name, but addresses by
// the networks' numbers.
func join(networks []*State) State {
	return State{
		Networks:  gather(networks, func(s *State) []Network { return s.Networks }),
		Workloads: gather(networks, func(s *State) []Workload { return s.Workloads }),
		Resolvers: gather(networks, func(s *State) []Resolver { return s.Resolvers }),
		Overlays:  gather(networks, func(s *State) []Overlay { return s.Overlays }),
		Entrances: gather(networks, func(s *State) []Entrance { return s.Entrances }),
		Devices:   gather(networks, func(s *State) []Device { return s.Devices }),
		Bindings:  joinBindings(networks),
		Ignored:   gather(networks, func(s *State) []Ignored { return s.Ignored }),
	}
}

// gather puts together what each network has of one kind.
func gather[T any](networks []*State, of func(*State) []T) []T {
	lists := make([][]T, len(networks))
	for i, s := range networks {
		lists[i] = of(s)
	}
	return slices.Concat(lists...)
}

// lockdown gives what is allowed for good, and a trial that is not over. A trial
// that was confirmed is for good. The overlays' openings are in both.
func (in Input) lockdown(overlays []spec.LockdownAllow) ([]spec.LockdownAllow, *Trial) {
	with := func(allow []spec.LockdownAllow) []spec.LockdownAllow {
		return slices.Concat(allow, overlays)
	}
	switch {
	case in.Trial == nil:
		return with(in.Node.Lockdown.Allow), nil
	case in.Trial.Deadline.IsZero():
		return with(in.Trial.Allow), nil
	}
	return with(in.Node.Lockdown.Allow), &Trial{Allow: with(in.Trial.Allow), Deadline: in.Trial.Deadline}
}

func (in Input) mtu() uint16 {
	return max(cmp.Or(in.MTU, ethernetMTU), minimumMTU)
}
