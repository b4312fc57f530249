package ipam

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Rest is how long what was released stays unused unless a State or Holding says
// otherwise, so that what still remembers its former owner has forgotten it:
// flows, caches, peers.
const Rest = time.Hour

// Range of network ids. 0 is no network.
const (
	FirstNetworkID uint32 = 1
	LastNetworkID  uint32 = 4095
)

// Lease says who has, or had, a /64 or a network id.
type Lease struct {
	Network string
	Node    string    // that the network has, or had, the /64 on; empty for a network id
	Until   time.Time // zero: Network owns it; else Network released it and it rests until then
}

// Owned tells whether the lease's network has it now.
func (l Lease) Owned() bool { return l.Until.IsZero() }

// free tells whether another network may have it at that time.
func (l Lease) free(now time.Time) bool { return !l.Owned() && !now.Before(l.Until) }

// State is what has been given out. It is a value: methods never change it but
// give a new one. The zero State has given out nothing.
type State struct {
	Prefixes    map[netip.Prefix]Lease // by /64
	IDs         map[uint32]Lease       // by network id
	NextService uint32                 // next service id, never one that was given; 0 means 1
	Rest        time.Duration          // how long what is released rests; 0 means the constant Rest
}

// Prefix gives the /64 that a network owns on a node.
func (s State) Prefix(network, node string) (netip.Prefix, bool) {
	return owned(s.Prefixes, Lease{Network: network, Node: node})
}

// ID gives the network id that a network owns.
func (s State) ID(network string) (uint32, bool) { return owned(s.IDs, Lease{Network: network}) }

func owned[K comparable](leases map[K]Lease, wanted Lease) (K, bool) {
	for k, l := range leases {
		if l == wanted {
			return k, true
		}
	}
	var none K
	return none, false
}

// Allocate gives a network its /64 on a node: the one that it owns there, wherever
// that lies (see Stranded), else the lowest free one of the node's blocks. The
// error is an *ExhaustedError when there is none.
func (s State) Allocate(blocks Blocks, network, node string, now time.Time) (State, netip.Prefix, error) {
	if p, ok := s.Prefix(network, node); ok {
		return s, p, nil
	}
	p, ok := blocks.lowest(func(p netip.Prefix) bool {
		l, known := s.Prefixes[p]
		return known && !l.free(now)
	})
	if !ok {
		return s, netip.Prefix{}, exhaustedPrefixes(s, blocks, network, now)
	}
	s.Prefixes = withKey(s.Prefixes, p, Lease{Network: network, Node: node})
	return s, p, nil
}

// AllocateID gives a network its id: the one that it owns, else the lowest free
// one. The error is an *ExhaustedError when there is none.
func (s State) AllocateID(network string, now time.Time) (State, uint32, error) {
	if id, ok := s.ID(network); ok {
		return s, id, nil
	}
	for id := FirstNetworkID; id <= LastNetworkID; id++ {
		if l, known := s.IDs[id]; known && !l.free(now) {
			continue
		}
		s.IDs = withKey(s.IDs, id, Lease{Network: network})
		return s, id, nil
	}
	return s, 0, exhaustedIDs(s, network, now)
}

// AllocateService gives a service id that was never given before, from 1 up.
func (s State) AllocateService() (State, uint32) {
	id := max(s.NextService, 1)
	s.NextService = id + 1
	return s, id
}

// Release takes back a network's id and its /64s, on every node that the State
// knows. They rest. A network that owns nothing changes nothing.
func (s State) Release(network string, now time.Time) State {
	until := now.Add(cmp.Or(s.Rest, Rest))
	for p, l := range s.Prefixes {
		if l.Owned() && l.Network == network {
			l.Until = until
			s.Prefixes = withKey(s.Prefixes, p, l)
		}
	}
	if id, ok := s.ID(network); ok {
		s.IDs = withKey(s.IDs, id, Lease{Network: network, Until: until})
	}
	return s
}

// Stranded is a network whose /64 the node's prefixes no longer provide.
type Stranded struct {
	Network string
	Node    string
	Prefix  netip.Prefix
}

// Stranded lists, by name, the networks whose /64 is not assignable from these
// blocks: the node's prefixes were changed under them. They keep their /64, for
// moving one renumbers every workload; the caller reports them.
func (s State) Stranded(blocks Blocks) []Stranded {
	var out []Stranded
	for p, l := range s.Prefixes {
		if l.Owned() && !blocks.Assignable(p) {
			out = append(out, Stranded{Network: l.Network, Node: l.Node, Prefix: p})
		}
	}
	slices.SortFunc(out, func(a, b Stranded) int {
		return cmp.Or(strings.Compare(a.Network, b.Network), strings.Compare(a.Node, b.Node))
	})
	return out
}
