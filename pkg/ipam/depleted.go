package ipam

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Share is how much of a holding a node has.
type Share struct {
	Node     string
	Blocks   int
	Networks uint64 // /64s in those blocks
}

// Shares tells what each node has of the holding, the most first, and what rests.
func (h Holding) Shares(now time.Time) (shares []Share, resting Share) {
	byNode := map[string]Share{}
	for p, d := range h.Blocks {
		size := lastNetwork(p) - upper(p.Addr()) + 1
		switch {
		case d.Owned():
			s := byNode[d.Node]
			byNode[d.Node] = Share{d.Node, s.Blocks + 1, s.Networks + size}
		case !d.free(now):
			resting = Share{Blocks: resting.Blocks + 1, Networks: resting.Networks + size}
		}
	}
	for _, s := range byNode {
		shares = append(shares, s)
	}
	slices.SortFunc(shares, func(a, b Share) int {
		return cmp.Or(cmp.Compare(b.Networks, a.Networks), strings.Compare(a.Node, b.Node))
	})
	return shares, resting
}

// DepletedError says that a holder has no block left to give, and who has what.
type DepletedError struct {
	Node     string // who asked
	Wanted   int    // blocks that it is to have
	Bits     int
	Holder   string
	Prefixes []netip.Prefix
	Networks uint64 // /64s in those prefixes
	Shares   []Share
	Resting  Share
	NextFree time.Time // when the first resting block is free; zero when none rests
}

func (h Holding) depleted(node string, r Request, now time.Time) *DepletedError {
	e := &DepletedError{Node: node, Wanted: r.Blocks, Bits: r.Bits, Holder: h.Holder, Prefixes: h.Prefixes()}
	for _, p := range e.Prefixes {
		e.Networks += lastNetwork(p) - upper(p.Addr()) + 1
	}
	e.Shares, e.Resting = h.Shares(now)
	for _, d := range h.Blocks {
		if !d.Owned() && !d.free(now) && (e.NextFree.IsZero() || d.Until.Before(e.NextFree)) {
			e.NextFree = d.Until
		}
	}
	return e
}

// Error gives one line: what was tried, how much is used by whom, what to do.
func (e *DepletedError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "delegate a block /%d to node %q, which is to have %d, from %s of node %s: none is free: ",
		e.Bits, e.Node, e.Wanted, joinPrefixes(e.Prefixes), e.Holder)
	list := make([]string, 0, len(e.Shares)+1)
	for _, s := range e.Shares {
		list = append(list, fmt.Sprintf("%s has %s", s.Node, e.text(s)))
	}
	if e.Resting.Blocks > 0 {
		list = append(list, fmt.Sprintf("%s were released but rest (the next is free at %s)",
			e.text(e.Resting), e.NextFree.UTC().Format(time.RFC3339)))
	}
	if len(list) == 0 {
		list = append(list, "nothing is registered there")
	}
	fmt.Fprintf(&b, "%s; register another prefix, or release blocks that nobody uses", shorten(list))
	return b.String()
}

func (e *DepletedError) text(s Share) string {
	noun := "blocks"
	if s.Blocks == 1 {
		noun = "block"
	}
	return fmt.Sprintf("%d %s, %.1f %%", s.Blocks, noun, float64(s.Networks)*100/float64(max(e.Networks, 1)))
}
