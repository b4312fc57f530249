package plan

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/zosnet/zosnet/pkg/ipam"
)

// nodeBlocks is for how many blocks of a node's prefix the node's own /64 is
// listed whether a network lies in the block or not: those of a /48.
const nodeBlocks = 256

// prefixes gives the node's tenant space and, inside it, the first /64 of its
// blocks. Of a prefix with more than nodeBlocks blocks those further up are left
// out as long as no network lies in them: a /16 has 2^40.
//
// A network that kept a /64 outside the node's prefixes, because they were changed
// under it, still is tenant space. What a network has is never the node's own.
func prefixes(blocks ipam.Blocks, networks []Network) []Prefix {
	set := map[netip.Prefix]Prefix{}
	for _, p := range blocks.Prefixes() {
		set[p] = Prefix{Prefix: p}
		for i, block := 0, firstBlock(p); i < nodeBlocks && p.Overlaps(block); i, block = i+1, nextBlock(block) {
			own := ipam.NodePrefix(block)
			set[own] = Prefix{Prefix: own, Node: true}
		}
	}
	for _, n := range networks {
		if block, ok := blocks.Block(n.Prefix); ok {
			own := ipam.NodePrefix(block)
			set[own] = Prefix{Prefix: own, Node: true}
		}
	}
	for _, n := range networks {
		if !blocks.Assignable(n.Prefix) {
			set[n.Prefix] = Prefix{Prefix: n.Prefix}
		}
	}
	list := make([]Prefix, 0, len(set))
	for _, p := range set {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b Prefix) int {
		return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), a.Prefix.Bits()-b.Prefix.Bits())
	})
	return list
}

// firstBlock is the lowest block of a prefix, or the prefix itself when it is less
// than one.
func firstBlock(p netip.Prefix) netip.Prefix {
	return netip.PrefixFrom(p.Masked().Addr(), max(p.Bits(), ipam.BlockBits))
}

// nextBlock is the block after this one; after the last of all it is the first.
func nextBlock(block netip.Prefix) netip.Prefix {
	raw := block.Addr().As16()
	upper := binary.BigEndian.Uint64(raw[:8]) + 1<<(ipam.NetworkBits-block.Bits())
	binary.BigEndian.PutUint64(raw[:8], upper)
	return netip.PrefixFrom(netip.AddrFrom16(raw), block.Bits())
}
