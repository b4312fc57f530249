package policy

import (
	"net/netip"
	"slices"
)

// namedCIDR says that an entry names a prefix.
type namedCIDR struct {
	prefix   netip.Prefix
	position int
}

// classifyCIDRs gives each prefix that changes anything the class of what it and
// its covering prefixes match: one set of entries by source and one by
// destination, side by side in one Bits of twice the words while classes are
// numbered.
func classifyCIDRs(from, to []namedCIDR, words int) (list []CIDRClass, fromSets, toSets []Bits) {
	all := slices.Clone(from)
	for _, c := range to {
		all = append(all, namedCIDR{c.prefix, c.position + 64*words})
	}
	// A prefix comes right after what covers it or after others in there.
	slices.SortStableFunc(all, func(a, b namedCIDR) int { return a.prefix.Compare(b.prefix) })

	found := newClasses()
	var covering []coveringPrefix
	nothing := make(Bits, 2*words)
	for i := 0; i < len(all); {
		prefix := all[i].prefix
		for len(covering) > 0 && !covering[len(covering)-1].prefix.Contains(prefix.Addr()) {
			covering = covering[:len(covering)-1]
		}
		inherited := nothing
		if len(covering) > 0 {
			inherited = covering[len(covering)-1].set
		}
		set := slices.Clone(inherited)
		for ; i < len(all) && all[i].prefix == prefix; i++ {
			set.Set(all[i].position)
		}
		if slices.Equal(set, inherited) {
			continue
		}
		covering = append(covering, coveringPrefix{prefix, set})
		list = append(list, CIDRClass{prefix, found.number(set)})
	}
	for _, set := range found.sets {
		fromSets = append(fromSets, set[:words:words])
		toSets = append(toSets, set[words:])
	}
	return list, fromSets, toSets
}

// coveringPrefix is one that contains those which come next, and all that it and
// its own covering prefixes match.
type coveringPrefix struct {
	prefix netip.Prefix
	set    Bits
}
