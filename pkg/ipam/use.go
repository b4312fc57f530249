package ipam

import (
	"net/netip"
	"time"
)

// Use is what networks have of one block.
type Use struct {
	Block    netip.Prefix
	Capacity uint64                 // /64s that networks can have
	Leases   map[netip.Prefix]Lease // by /64; those that rest still are among them
}

// Owned counts the /64s that networks have.
func (u Use) Owned() int {
	n := 0
	for _, l := range u.Leases {
		if l.Owned() {
			n++
		}
	}
	return n
}

// Resting counts the /64s that were released but rest.
func (u Use) Resting() int { return len(u.Leases) - u.Owned() }

// InUse gives the blocks in which networks have, or had until lately, a /64,
// ascending.
func (s State) InUse(blocks Blocks, now time.Time) []Use {
	uses := map[netip.Prefix]Use{}
	for p, l := range s.Prefixes {
		block, ok := blocks.Block(p)
		if !ok || l.free(now) {
			continue
		}
		u, known := uses[block]
		if !known {
			u = Use{Block: block, Capacity: Blocks{[]netip.Prefix{block}}.Capacity(), Leases: map[netip.Prefix]Lease{}}
		}
		u.Leases[p] = l
		uses[block] = u
	}
	list := make([]Use, 0, len(uses))
	for _, block := range sortedPrefixes(uses) {
		list = append(list, uses[block])
	}
	return list
}
