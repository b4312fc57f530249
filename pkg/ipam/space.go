package ipam

import "net/netip"

// Space gives what a holder has of its prefixes, ascending: all but the blocks that
// other nodes have. Its own blocks are in it, what nobody has, and what rests.
func (h Holding) Space() []netip.Prefix {
	var space []netip.Prefix
	for _, p := range h.Prefixes() {
		space = append(space, h.without(p)...)
	}
	return space
}

// without gives p without what other nodes have of it, in as few prefixes as can be.
func (h Holding) without(p netip.Prefix) []netip.Prefix {
	overlaps := false
	for block, d := range h.Blocks {
		switch {
		case !d.Owned() || d.Node == h.Holder || !block.Overlaps(p):
		case block.Bits() <= p.Bits():
			return nil
		default:
			overlaps = true
		}
	}
	if !overlaps {
		return []netip.Prefix{p}
	}
	lower, upper := halves(p)
	return append(h.without(lower), h.without(upper)...)
}

// halves cuts a prefix, which is shorter than a /64, in two.
func halves(p netip.Prefix) (lower, upper netip.Prefix) {
	bits := p.Bits() + 1
	return netip.PrefixFrom(p.Addr(), bits), blockAt(lastNetwork(p), bits).Masked()
}
