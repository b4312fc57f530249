package ipam

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
)

// Lengths of the prefixes in an allocation.
const (
	BlockBits   = 56 // a node's prefix is cut into blocks of this length
	NetworkBits = 64 // a network has one of these on each node (RFC 4291, 2.5.1)
)

// Blocks are a node's prefixes in the order in which /64s are taken from them:
// ascending, without those that lie inside another one.
type Blocks struct {
	prefixes []netip.Prefix
}

// ParseBlocks checks a node's prefixes. Each must be IPv6 and hold at least one
// /64. Host bits are cleared; the order does not matter.
func ParseBlocks(prefixes []netip.Prefix) (Blocks, error) {
	sorted := make([]netip.Prefix, 0, len(prefixes))
	for _, p := range prefixes {
		if !p.IsValid() || !p.Addr().Is6() || p.Addr().Is4In6() {
			return Blocks{}, fmt.Errorf("node prefix %s: not an IPv6 prefix", p)
		}
		if p.Bits() > NetworkBits {
			return Blocks{}, fmt.Errorf("node prefix %s: longer than /%d, so it holds no /%d for a network",
				p, NetworkBits, NetworkBits)
		}
		sorted = append(sorted, p.Masked())
	}
	slices.SortFunc(sorted, comparePrefix)
	var b Blocks
	for _, p := range sorted {
		if n := len(b.prefixes); n > 0 && b.prefixes[n-1].Overlaps(p) {
			continue // sorted: the one before is the same or the shorter one
		}
		b.prefixes = append(b.prefixes, p)
	}
	return b, nil
}

// comparePrefix orders by address, then the shorter prefix first.
func comparePrefix(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}

// Prefixes gives the checked prefixes, ascending, none inside another.
func (b Blocks) Prefixes() []netip.Prefix { return slices.Clone(b.prefixes) }

// Block gives the block that holds p's address, or false when no prefix does.
func (b Blocks) Block(p netip.Prefix) (netip.Prefix, bool) {
	for _, n := range b.prefixes {
		if n.Contains(p.Addr()) {
			block, err := p.Addr().Prefix(max(n.Bits(), BlockBits))
			return block, err == nil
		}
	}
	return netip.Prefix{}, false
}

// Assignable tells whether p is a /64 that a network may have: inside a block
// and not that block's first one.
func (b Blocks) Assignable(p netip.Prefix) bool {
	block, ok := b.Block(p)
	return ok && p.Bits() == NetworkBits && p != NodePrefix(block)
}

// Capacity is how many /64s networks can have; it stops counting at 1<<32.
func (b Blocks) Capacity() uint64 {
	var sum uint64
	for _, p := range b.prefixes {
		blocks := uint64(1)
		if p.Bits() < BlockBits {
			blocks <<= min(BlockBits-p.Bits(), 40) // more would overflow the product
		}
		inBlock := uint64(1)<<(NetworkBits-max(p.Bits(), BlockBits)) - 1
		sum += blocks * inBlock
	}
	return min(sum, 1<<32)
}

// lowest gives the lowest assignable /64 that taken does not claim.
func (b Blocks) lowest(taken func(netip.Prefix) bool) (netip.Prefix, bool) {
	for _, p := range b.prefixes {
		inBlock := uint64(1)<<(NetworkBits-max(p.Bits(), BlockBits)) - 1 // mask of the /64 number in its block
		first := upper(p.Addr())
		last := first | (1<<(NetworkBits-p.Bits()) - 1)
		for n := first; ; n++ {
			if n&inBlock != 0 {
				if candidate := networkPrefix(n); !taken(candidate) {
					return candidate, true
				}
			}
			if n == last {
				break
			}
		}
	}
	return netip.Prefix{}, false
}

// NodePrefix is the /64 of a block that is the node's own and no network's.
func NodePrefix(block netip.Prefix) netip.Prefix {
	return netip.PrefixFrom(block.Masked().Addr(), NetworkBits)
}

// upper is the high 64 bits of an IPv6 address.
func upper(a netip.Addr) uint64 {
	raw := a.As16()
	return binary.BigEndian.Uint64(raw[:8])
}

// networkPrefix is the /64 whose high 64 bits are n.
func networkPrefix(n uint64) netip.Prefix {
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:8], n)
	return netip.PrefixFrom(netip.AddrFrom16(raw), NetworkBits)
}
