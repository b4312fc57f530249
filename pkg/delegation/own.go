package delegation

import (
	"net/netip"
	"slices"

	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/spec"
)

// fromDocument is the source of a registration that node.yaml names.
const fromDocument = "node.yaml"

// registrations gives what a node holds: what node.yaml names and what was registered by
// command, by prefix.
func registrations(node *spec.Node, local registry.Snapshot) []ipam.Registration {
	var list []ipam.Registration
	for _, p := range node.Prefixes {
		list = append(list, ipam.Registration{Prefix: p, Holder: node.Name, Source: fromDocument})
	}
	for _, r := range local.Registrations {
		if !slices.Contains(node.Prefixes, r.Prefix) {
			r.Holder = node.Name
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b ipam.Registration) int { return a.Prefix.Compare(b.Prefix) })
	return list
}

func prefixesOf(list []ipam.Registration) []netip.Prefix {
	prefixes := make([]netip.Prefix, len(list))
	for i, r := range list {
		prefixes[i] = r.Prefix
	}
	return prefixes
}

func blocksOf(list []registry.Block) []netip.Prefix {
	blocks := make([]netip.Prefix, len(list))
	for i, b := range list {
		blocks[i] = b.Block
	}
	return blocks
}

// giving is node.yaml with the prefixes that networks get /64s from here: alone all
// that the node holds; in a grid, where a holder gives parts of that away, the blocks
// that it has.
func giving(node *spec.Node, local registry.Snapshot, inGrid bool) *spec.Node {
	with := *node
	with.Prefixes = prefixesOf(registrations(node, local))
	if inGrid {
		with.Prefixes = blocksOf(inUse(node, local))
	}
	return &with
}

// inUse gives the blocks that this node gives from. Those of a prefix that it holds no
// more it only keeps, for as long as networks are in them; those that it gives back,
// until its holder has them.
func inUse(node *spec.Node, local registry.Snapshot) (blocks []registry.Block) {
	prefixes := prefixesOf(registrations(node, local))
	for _, b := range local.Blocks {
		if b.GivenBack {
			continue
		}
		if b.Holder != node.Name || slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(b.Block.Addr()) }) {
			blocks = append(blocks, b)
		}
	}
	return blocks
}

// whole is node.yaml with all of this node's address space: the blocks that it
// has, and of what it holds all that no other node has.
func whole(node *spec.Node, local registry.Snapshot, given map[netip.Prefix]ipam.Delegation) *spec.Node {
	h := ipam.Holding{Holder: node.Name, Registrations: map[netip.Prefix]ipam.Registration{}, Blocks: given}
	for _, r := range registrations(node, local) {
		h.Registrations[r.Prefix] = r
	}
	with := *node
	with.Prefixes = append(h.Space(), blocksOf(local.Blocks)...)
	return &with
}

// ofOthers gives those of a node's blocks that other holders delegated to it, and that it
// gives from.
func ofOthers(node string, list []registry.Block) (blocks []netip.Prefix) {
	for _, b := range list {
		if b.Holder != node && !b.GivenBack {
			blocks = append(blocks, b.Block)
		}
	}
	return blocks
}
