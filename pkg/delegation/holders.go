package delegation

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/zosnet/zosnet/pkg/registry/gridstore"
)

// Holders tells which prefixes each node holds. Any node may sign that it holds any
// prefix: of two that overlap the one that was registered first counts, so that nobody
// takes what another has.
type Holders map[string][]netip.Prefix

// HoldersOf gives the holders that a snapshot of the grid's registry speaks of.
func HoldersOf(snap gridstore.Snapshot) Holders {
	type registered struct {
		holder string
		prefix netip.Prefix
		at     int64 // revision of the registry
	}
	var all []registered
	for name, n := range snap.Nodes {
		for p := range n.Holding.Registrations {
			all = append(all, registered{name, p, n.Registered[p]})
		}
	}
	slices.SortFunc(all, func(a, b registered) int {
		return cmp.Or(a.prefix.Addr().Compare(b.prefix.Addr()), cmp.Compare(a.prefix.Bits(), b.prefix.Bits()), cmp.Compare(a.holder, b.holder))
	})
	taken := make([]bool, len(all))
	for i, a := range all {
		for j := i + 1; j < len(all) && a.prefix.Overlaps(all[j].prefix); j++ { // what lies in a comes right behind it
			if b := all[j]; a.holder != b.holder {
				taken[i], taken[j] = taken[i] || b.at < a.at, taken[j] || a.at < b.at
			}
		}
	}
	list := Holders{}
	for i, r := range all {
		if !taken[i] {
			list[r.holder] = append(list[r.holder], r.prefix)
		}
	}
	return list
}

// Gave tells whether a holder gave a block, which it holds, to a node, and has not taken
// it back.
func (h Holders) Gave(snap gridstore.Snapshot, holder string, block netip.Prefix, node string) bool {
	d, ok := snap.Block(holder, block)
	if !ok || !d.Owned() || d.Node != node {
		return false
	}
	return slices.ContainsFunc(h[holder], func(p netip.Prefix) bool {
		return p.Bits() <= block.Bits() && p.Contains(block.Addr())
	})
}
