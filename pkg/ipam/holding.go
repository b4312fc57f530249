package ipam

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// Delegation says which node has, or had, a block.
type Delegation struct {
	Node  string
	Until time.Time // zero: Node has it; else Node released it and it rests until then
}

// Owned tells whether the delegation's node has the block now.
func (d Delegation) Owned() bool { return d.Until.IsZero() }

func (d Delegation) free(now time.Time) bool { return !d.Owned() && !now.Before(d.Until) }

// Holding is what one node holds for the grid: its registrations, and which node
// has which block of them, itself included. It is a value: methods never change
// it but give a new one.
//
// Only what a node, or whoever speaks for it, releases becomes free. That a node
// cannot be reached frees nothing: it may be enforcing what it has.
type Holding struct {
	Holder        string
	Registrations map[netip.Prefix]Registration
	Blocks        map[netip.Prefix]Delegation // no two overlap
	Rest          time.Duration               // how long a released block rests; 0 means the constant Rest
}

// Prefixes gives the registered prefixes, ascending.
func (h Holding) Prefixes() []netip.Prefix { return sortedPrefixes(h.Registrations) }

// Of gives the blocks that a node has, ascending.
func (h Holding) Of(node string) []netip.Prefix {
	var list []netip.Prefix
	for p, d := range h.Blocks {
		if d.Owned() && d.Node == node {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, comparePrefix)
	return list
}

// Register adds a registration. What others hold, and blocks of theirs that are
// used or rest still, must not overlap it: *OverlapError. The same again changes
// only its Source and Contact.
func (h Holding) Register(r Registration, others []Holding, now time.Time) (Holding, error) {
	if r.Holder == "" {
		r.Holder = h.Holder
	}
	if err := r.check(); err != nil {
		return h, err
	}
	for _, other := range append([]Holding{h}, others...) {
		if err := other.overlap(r, now); err != nil {
			return h, err
		}
	}
	if old, again := h.Registrations[r.Prefix]; again {
		r.Registered = old.Registered
	}
	h.Registrations = withKey(h.Registrations, r.Prefix, r)
	return h, nil
}

// overlap tells what of a holding stands in a registration's way.
func (h Holding) overlap(r Registration, now time.Time) error {
	for _, p := range h.Prefixes() {
		if p.Overlaps(r.Prefix) && (h.Holder != r.Holder || p != r.Prefix) {
			return &OverlapError{Prefix: r.Prefix, With: p, Holder: h.Holder}
		}
	}
	if h.Holder == r.Holder {
		return nil // its own blocks keep out of each other's way by themselves
	}
	for _, p := range sortedPrefixes(h.Blocks) {
		if d := h.Blocks[p]; p.Overlaps(r.Prefix) && !d.free(now) {
			return &OverlapError{Prefix: r.Prefix, With: p, Holder: h.Holder, Until: d.Until, Block: true}
		}
	}
	return nil
}

// Unregister takes a registration out. While nodes have blocks of it that is
// refused with a *DelegatedError, unless force, which takes the blocks back; those
// rest as if they had been released. A prefix that is not held gives an
// *UnknownError.
func (h Holding) Unregister(p netip.Prefix, force bool, now time.Time) (Holding, error) {
	if _, held := h.Registrations[p]; !held {
		return h, &UnknownError{Prefix: p, Holder: h.Holder}
	}
	used := map[netip.Prefix]string{}
	for block, d := range h.Blocks {
		if d.Owned() && p.Overlaps(block) {
			used[block] = d.Node
		}
	}
	if len(used) > 0 && !force {
		return h, &DelegatedError{Prefix: p, Blocks: used}
	}
	for block, node := range used {
		h = h.rest(block, node, now)
	}
	h.Registrations = maps.Clone(h.Registrations)
	delete(h.Registrations, p)
	return h, nil
}

// Delegate gives a node as many blocks of the holding as it is to have, and all
// that it has then, ascending. What it has it keeps, so that asking again changes
// nothing and asking for one more lets it grow. A block has the length bits, 0
// means BlockBits, or is a whole registration that is longer; it is the lowest that
// is free. Either all are given or none: *DepletedError.
func (h Holding) Delegate(node string, blocks, bits int, now time.Time) (Holding, []netip.Prefix, error) {
	return h.delegate(Request{Blocks: blocks, Bits: bits}, node, now)
}

func (h Holding) delegate(r Request, node string, now time.Time) (Holding, []netip.Prefix, error) {
	r.Bits = cmp.Or(r.Bits, BlockBits)
	if err := r.check(node); err != nil {
		return h, nil, err
	}
	have := h.Of(node)
	if len(have) >= r.Blocks {
		return h, have, nil
	}
	next := h.forget(now)
	for range r.Blocks - len(have) {
		block, ok := next.lowest(r.Bits, r.Release)
		if !ok {
			return h, have, h.depleted(node, r, now)
		}
		next.Blocks = withKey(next.Blocks, block, Delegation{Node: node})
	}
	return next, next.Of(node), nil
}

// forget drops the blocks that have rested.
func (h Holding) forget(now time.Time) Holding {
	kept := make(map[netip.Prefix]Delegation, len(h.Blocks))
	for p, d := range h.Blocks {
		if !d.free(now) {
			kept[p] = d
		}
	}
	h.Blocks = kept
	return h
}

// lowest gives the lowest block of that length that overlaps no delegation and
// none of those to avoid.
func (h Holding) lowest(bits int, avoid []netip.Prefix) (netip.Prefix, bool) {
	taken := append(sortedPrefixes(h.Blocks), avoid...)
	slices.SortFunc(taken, comparePrefix)
	for _, p := range h.Prefixes() {
		if block, ok := lowestBlock(p, max(bits, p.Bits()), taken); ok {
			return block, true
		}
	}
	return netip.Prefix{}, false
}

// lowestBlock gives the lowest part of p of a length that overlaps none of those
// that are taken, ascending by their first address.
func lowestBlock(p netip.Prefix, bits int, taken []netip.Prefix) (netip.Prefix, bool) {
	size := uint64(1) << (NetworkBits - bits)
	candidate, last := upper(p.Addr()), lastNetwork(p)
	for _, t := range taken {
		switch first, end := upper(t.Addr()), lastNetwork(t); {
		case end < candidate:
		case first > candidate+size-1:
			return blockAt(candidate, bits), true
		case end >= last:
			return netip.Prefix{}, false
		default: // the next multiple of size after it; end < last keeps it from wrapping
			candidate = (end/size + 1) * size
		}
	}
	if candidate > last {
		return netip.Prefix{}, false
	}
	return blockAt(candidate, bits), true
}

// Release takes a block back from the node that has it, and lets it rest. A block
// that is not the node's gives an *UnknownError; one that it released already
// changes nothing.
func (h Holding) Release(block netip.Prefix, node string, now time.Time) (Holding, error) {
	d, known := h.Blocks[block]
	switch {
	case known && d.Node == node && !d.Owned():
		return h, nil
	case known && d.Node == node:
		return h.rest(block, node, now), nil
	case known && d.Owned():
		return h, &UnknownError{Prefix: block, Node: node, Has: d.Node, Holder: h.Holder}
	}
	return h, &UnknownError{Prefix: block, Node: node, Holder: h.Holder}
}

// RemoveNode takes every block back from a node that will not come again, and
// lets them rest.
func (h Holding) RemoveNode(node string, now time.Time) Holding {
	for _, block := range h.Of(node) {
		h = h.rest(block, node, now)
	}
	return h
}

func (h Holding) rest(block netip.Prefix, node string, now time.Time) Holding {
	h.Blocks = withKey(h.Blocks, block, Delegation{Node: node, Until: now.Add(cmp.Or(h.Rest, Rest))})
	return h
}

// Adopt gives the holder the blocks that its own /64s lie in: what it used while
// it was alone, or gave up and has again. It is an error that one of them is another
// node's, or that another had it and it rests.
func (h Holding) Adopt(used []netip.Prefix, now time.Time) (Holding, error) {
	space, err := ParseBlocks(h.Prefixes())
	if err != nil {
		return h, err
	}
	next := h
	for _, p := range used {
		block, ok := space.Block(p)
		if !ok || next.Blocks[block] == (Delegation{Node: h.Holder}) {
			continue
		}
		for other, d := range next.Blocks {
			own := other == block && d.Node == h.Holder
			if other.Overlaps(block) && !own && !d.free(now) {
				return h, fmt.Errorf("a network has %s here, but that is in the block %s, which node %s has or had; delete the network first",
					p, other, d.Node)
			}
		}
		next = next.forget(now)
		next.Blocks = withKey(next.Blocks, block, Delegation{Node: h.Holder})
	}
	return next, nil
}

// lastNetwork is the high 64 bits of a prefix's last address.
func lastNetwork(p netip.Prefix) uint64 {
	return upper(p.Masked().Addr()) | (1<<(NetworkBits-p.Bits()) - 1)
}

func blockAt(n uint64, bits int) netip.Prefix {
	return netip.PrefixFrom(networkPrefix(n).Addr(), bits)
}

func sortedPrefixes[V any](m map[netip.Prefix]V) []netip.Prefix {
	return slices.SortedFunc(maps.Keys(m), comparePrefix)
}

// withKey gives a copy of m in which k is v.
func withKey[K comparable, V any](m map[K]V, k K, v V) map[K]V {
	out := make(map[K]V, len(m)+1)
	maps.Copy(out, m)
	out[k] = v
	return out
}
