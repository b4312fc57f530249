package ipam

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// spareNetworks is how many free /64s a node keeps at hand: it may have to give
// them out while nobody can be asked for more.
const spareNetworks = 32

// mostRequested bounds what one node can ask of a holder, in blocks.
const mostRequested = 4096

// Request is what a node asks of a holder. It is a wish that stays, no message:
// answering it again changes nothing.
type Request struct {
	Holder string // who is asked
	Blocks int    // how many blocks of the holder's the node is to have; what it has above that it keeps
	Bits   int    // length of the blocks; 0 means BlockBits

	// Others are further holders that the node has blocks of: it hears when one of
	// them takes a block back.
	Others []string

	// Release names blocks to be given back. The node uses none of them any more,
	// from before it asks until the holder's delegations show that it is rid of them.
	Release []netip.Prefix
}

// Same tells whether two requests ask the same.
func (r Request) Same(other Request) bool {
	return r.Holder == other.Holder && r.Blocks == other.Blocks && r.Bits == other.Bits &&
		slices.Equal(r.Others, other.Others) && slices.Equal(r.Release, other.Release)
}

func (r Request) check(node string) error {
	if r.Blocks < 0 || r.Blocks > mostRequested || r.Bits != 0 && (r.Bits < ShortestRegistration || r.Bits > NetworkBits) {
		return fmt.Errorf("delegate %d blocks /%d to node %q: want at most %d, /%d to /%d",
			r.Blocks, r.Bits, node, mostRequested, ShortestRegistration, NetworkBits)
	}
	return nil
}

// Answer brings a holding to what the nodes ask of it, by node. First everything
// that they release is taken back, whomever they ask for more; then each gets its
// blocks, by name. What cannot be done is in the error, and the rest is done.
func (h Holding) Answer(requests map[string]Request, now time.Time) (Holding, error) {
	open := h.Open(requests)
	for _, node := range open {
		for _, block := range h.releasedBy(node, requests[node]) {
			h = h.rest(block, node, now)
		}
	}
	var errs []error
	for _, node := range open {
		if r := requests[node]; r.Holder == h.Holder {
			var err error
			if h, _, err = h.delegate(r, node, now); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return h, errors.Join(errs...)
}

// Open gives the nodes whose requests are not answered yet, by name: hardly ever any.
func (h Holding) Open(requests map[string]Request) (open []string) {
	has := map[string]int{}
	for _, d := range h.Blocks {
		if d.Owned() {
			has[d.Node]++
		}
	}
	for node, r := range requests {
		released := len(h.releasedBy(node, r))
		more := r.Holder == h.Holder && (has[node]-released < r.Blocks || r.check(node) != nil)
		if released > 0 || more {
			open = append(open, node)
		}
	}
	slices.Sort(open)
	return open
}

// releasedBy gives the blocks that a node has and asks to be rid of.
func (h Holding) releasedBy(node string, r Request) (blocks []netip.Prefix) {
	for _, block := range r.Release {
		if h.Blocks[block] == (Delegation{Node: node}) && !slices.Contains(blocks, block) {
			blocks = append(blocks, block)
		}
	}
	return blocks
}

// Wanted is how many blocks a node should have: those that it has, and one more
// when fewer than 32 /64s are left in them to give.
func (s State) Wanted(blocks Blocks, now time.Time) int {
	if s.left(blocks, now) >= spareNetworks {
		return len(blocks.prefixes)
	}
	return len(blocks.prefixes) + 1
}

// left counts the /64s that networks can still have.
func (s State) left(blocks Blocks, now time.Time) uint64 {
	left := blocks.Capacity()
	for p, l := range s.Prefixes {
		if blocks.Assignable(p) && !l.free(now) {
			left--
		}
	}
	return left
}

// Idle gives the blocks in which no network has, or had until lately, a /64,
// ascending: those that the node may release.
func (s State) Idle(blocks Blocks, now time.Time) []netip.Prefix {
	used := s.InUse(blocks, now)
	return slices.DeleteFunc(blocks.Prefixes(), func(block netip.Prefix) bool {
		return slices.ContainsFunc(used, func(u Use) bool { return block.Overlaps(u.Block) })
	})
}

// Surplus gives a block that the node does not need, the highest: it is idle, and in
// the others twice as many /64s are left as the node keeps at hand, so that it does not
// ask for one again at once.
func (s State) Surplus(blocks Blocks, now time.Time) (netip.Prefix, bool) {
	left := s.left(blocks, now)
	for _, block := range slices.Backward(s.Idle(blocks, now)) {
		if left >= (Blocks{[]netip.Prefix{block}}).Capacity()+2*spareNetworks {
			return block, true
		}
	}
	return netip.Prefix{}, false
}
