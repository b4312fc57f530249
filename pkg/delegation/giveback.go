package delegation

import (
	"net/netip"
	"slices"
	"time"

	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
	"github.com/zosnet/zosnet/pkg/spec"
)

// How a block goes back, so that no /64 of it is given by two nodes, whatever dies or
// is cut off when:
//
//	1. the node notes in its own registry that it gives nothing from the block any more;
//	2. it says so in its request, in the grid's;
//	3. the holder lets the block rest, if that request is still the node's;
//	4. the node sees that, and takes the block out of its request;
//	5. when it sees neither block nor request any more, and has heard all that it wrote
//	   itself, it forgets the block.

// giveBack marks a block that this node does not need, one at a time.
func giveBack(node *spec.Node, local registry.Snapshot, next []registry.Block, now time.Time) []registry.Block {
	local.Blocks = next
	blocks, err := ipam.ParseBlocks(blocksOf(inUse(node, local)))
	if err != nil {
		return next
	}
	surplus, ok := local.IPAM.Surplus(blocks, now)
	if !ok {
		return next
	}
	next = slices.Clone(next)
	for i, b := range next {
		next[i].GivenBack = b.GivenBack || b.Block == surplus
	}
	return next
}

// keepGivenBack keeps on next what this node has given back, until neither its holder
// nor this node's request says anything of it. What the request says counts also where
// this node has forgotten it. A snapshot that has not heard yet what this node wrote may
// be of before the block was given at all: by that nothing is forgotten.
func keepGivenBack(node string, have, next []registry.Block, snap gridstore.Snapshot, heard bool) []registry.Block {
	var asked []netip.Prefix
	if self := snap.Nodes[node]; self != nil && self.Request != nil {
		asked = self.Request.Release
	}
	for i, b := range next {
		had, known := blockIn(have, b.Block)
		next[i].GivenBack = known && had.GivenBack || slices.Contains(asked, b.Block)
	}
	for _, b := range have {
		if _, there := blockIn(next, b.Block); there || !b.GivenBack {
			continue
		}
		d, _ := snap.Block(b.Holder, b.Block)
		if !heard || slices.Contains(asked, b.Block) || d == (ipam.Delegation{Node: node}) {
			next = append(next, b)
		}
	}
	return next
}

func blockIn(list []registry.Block, block netip.Prefix) (registry.Block, bool) {
	i := slices.IndexFunc(list, func(b registry.Block) bool { return b.Block == block })
	if i < 0 {
		return registry.Block{}, false
	}
	return list[i], true
}
