package ipam

import (
	"errors"
	"fmt"
	"maps"
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

func (r Request) check(node string) error {
	if r.Blocks < 0 || r.Blocks > mostRequested || r.Bits != 0 && (r.Bits < ShortestRegistration || r.Bits > NetworkBits) {
		return fmt.Errorf("delegate %d blocks /%d to node %q: want at most %d, /%d to /%d",
			r.Blocks, r.Bits, node, mostRequested, ShortestRegistration, NetworkBits)
	}
	return nil
}

// Answer brings a holding to what the nodes ask of it, by node. First everything
// that they release is taken back, then each gets its blocks, by name. What cannot
// be done is in the error, and the rest is done; requests to other holders do not
// count.
func (h Holding) Answer(requests map[string]Request, now time.Time) (Holding, error) {
	var errs []error
	var nodes []string
	for _, node := range slices.Sorted(maps.Keys(requests)) {
		if r := requests[node]; r.Holder == h.Holder {
			nodes = append(nodes, node)
			for _, block := range r.Release {
				if d, known := h.Blocks[block]; known && d.Node == node {
					h, _ = h.Release(block, node, now) // it is the node's
				}
			}
		}
	}
	has := map[string]int{}
	for _, d := range h.Blocks {
		if d.Owned() {
			has[d.Node]++
		}
	}
	for _, node := range nodes {
		r := requests[node]
		if err := r.check(node); err == nil && has[node] >= r.Blocks {
			continue // most nodes, nearly always
		}
		var err error
		if h, _, err = h.delegate(r, node, now); err != nil {
			errs = append(errs, err)
		}
	}
	return h, errors.Join(errs...)
}

// Wanted is how many blocks a node should have: those that it has, and one more
// when fewer than 32 /64s are left in them to give.
func (s State) Wanted(blocks Blocks, now time.Time) int {
	left := blocks.Capacity()
	for p, l := range s.Prefixes {
		if blocks.Assignable(p) && !l.free(now) {
			left--
		}
	}
	if left >= spareNetworks {
		return len(blocks.prefixes)
	}
	return len(blocks.prefixes) + 1
}

// Idle gives the blocks in which no network has a /64, ascending: those that the
// node may release. What rests in one rests with it.
func (s State) Idle(blocks Blocks) []netip.Prefix {
	var idle []netip.Prefix
	for _, block := range blocks.prefixes {
		used := false
		for p, l := range s.Prefixes {
			used = used || l.Owned() && block.Contains(p.Addr())
		}
		if !used {
			idle = append(idle, block)
		}
	}
	return idle
}
