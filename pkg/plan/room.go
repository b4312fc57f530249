package plan

import (
	"fmt"
	"math/bits"
)

// Sets in one share of a network. Fewer than enough still serve, but a busy service
// may notice; with more than the most, one network alone takes too much memory.
const (
	enoughFlowSets = 64
	mostFlowSets   = 8192
	flowWays       = 4 // flows in a set
)

// flowSets gives the sets in each share of each network: an equal part of the room,
// as a power of two. All parts together fit, so that no network's flows ever find the
// room taken by another's.
func flowSets(room, shares, networks uint32) uint32 {
	part := min(max(room/(networks*shares), 1), mostFlowSets)
	return 1 << (bits.Len32(part) - 1)
}

// Warnings says what of the state is as it has to be, but not as it should be.
func (s State) Warnings() []string {
	var list []string
	for _, i := range s.Ignored {
		list = append(list, i.Object+" is left out: "+i.Reason)
	}
	if len(s.Networks) == 0 || s.Networks[0].FlowSets >= enoughFlowSets {
		return list
	}
	return append(list, fmt.Sprintf("%d networks share this node's room for flows: each may have %d of a kind at once "+
		"(TCP, other protocols, not answered yet; begun from outside, from inside), then its own idle ones make room; "+
		"with fewer networks on a node each has more", len(s.Networks), s.Networks[0].FlowSets*flowWays))
}
