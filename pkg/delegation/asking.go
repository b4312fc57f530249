package delegation

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
)

// asking is what a node's request for blocks follows from.
type asking struct {
	node, exit string
	snap       gridstore.Snapshot
	local      registry.Snapshot
	using      []registry.Block // of the node's blocks those that it gives from
	now        time.Time
}

// asked gives what the node asks already, or nil.
func (a asking) asked() *ipam.Request {
	if self := a.snap.Nodes[a.node]; self != nil {
		return self.Request
	}
	return nil
}

// request gives what the node is to ask, or nil where that is nothing. Who holds what
// in the whole grid is read only where the holder that was asked has no block left. It
// is an error only for a node without any block that there is none.
func (a asking) request(every func() (map[string]ipam.Holding, error)) (*ipam.Request, error) {
	have, err := ipam.ParseBlocks(blocksOf(a.using))
	if err != nil {
		return nil, err
	}
	more := a.local.IPAM.Wanted(have, a.now) - len(have.Prefixes())
	if more <= 0 {
		return a.enough(), nil
	}
	if asked := a.asked(); asked != nil && canGive(a.snap, asked.Holder, a.node, a.now) {
		return a.of(asked.Holder, more), nil
	}
	holdings, err := every()
	if err != nil {
		return nil, err
	}
	delete(holdings, a.node)
	holder, err := chooseHolder(holdings, a.node, a.exit, a.now)
	switch {
	case holder != "":
		return a.of(holder, more), nil
	case len(have.Prefixes()) > 0:
		return a.enough(), nil // there are /64s still; who lacks one is told
	}
	return nil, err
}

// enough asks for no more than the node has.
func (a asking) enough() *ipam.Request {
	release := a.release()
	switch asked := a.asked(); {
	case asked != nil:
		return a.of(asked.Holder, 0)
	case len(release) > 0:
		b, _ := blockIn(a.local.Blocks, release[0])
		return a.of(b.Holder, 0)
	}
	return nil
}

// of asks a holder for more blocks than the node gives from of it, and names those
// whom it has blocks of besides, or may have: whom it has asked may have answered.
func (a asking) of(holder string, more int) *ipam.Request {
	r := &ipam.Request{Holder: holder, Blocks: more, Release: a.release()}
	for _, b := range a.using {
		if b.Holder == holder {
			r.Blocks++
		}
	}
	var others []string
	for _, b := range a.local.Blocks {
		others = append(others, b.Holder)
	}
	if asked := a.asked(); asked != nil {
		others = append(append(others, asked.Holder), asked.Others...)
	}
	slices.Sort(others)
	r.Others = slices.DeleteFunc(slices.Compact(others), func(name string) bool { return name == holder || name == a.node })
	return r
}

// release gives the blocks that the node is still to be rid of, by block.
func (a asking) release() (blocks []netip.Prefix) {
	for _, b := range a.local.Blocks {
		if !b.GivenBack || b.Holder == a.node {
			continue
		}
		if d, known := a.snap.Block(b.Holder, b.Block); known && d == (ipam.Delegation{Node: a.node}) {
			blocks = append(blocks, b.Block)
		}
	}
	return blocks
}

// canGive tells whether a holder that this node hears has a block left.
func canGive(snap gridstore.Snapshot, holder, node string, now time.Time) bool {
	n := snap.Nodes[holder]
	return n != nil && hasBlock(n.Holding, node, now)
}

func hasBlock(h ipam.Holding, node string, now time.Time) bool {
	_, _, err := h.Delegate(node, len(h.Of(node))+1, 0, now)
	return err == nil
}

// chooseHolder gives the node to ask for blocks: the exit where it has some left, else
// who has most. When nobody has any the error says how much is used by whom.
func chooseHolder(holdings map[string]ipam.Holding, node, exit string, now time.Time) (holder string, err error) {
	most := uint64(0)
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(holdings)) {
		h := holdings[name]
		if len(h.Registrations) == 0 {
			continue // only blocks of it rest still
		}
		if _, _, err := h.Delegate(node, len(h.Of(node))+1, 0, now); err != nil {
			errs = append(errs, err)
			continue
		}
		if name == exit {
			return name, nil
		}
		if free := freeIn(h, now); free > most || holder == "" {
			holder, most = name, free
		}
	}
	switch {
	case holder != "":
		return holder, nil
	case len(errs) == 0:
		return "", errors.New("no node of the grid holds a prefix; register one where it is routed to: zosnet prefix register")
	}
	return "", errors.Join(errs...)
}

// freeIn gives how many /64s of a holding no node has.
func freeIn(h ipam.Holding, now time.Time) uint64 {
	shares, resting := h.Shares(now)
	used := resting.Networks
	for _, s := range shares {
		used += s.Networks
	}
	total := uint64(0)
	for _, p := range h.Prefixes() {
		total += uint64(1) << (ipam.NetworkBits - p.Bits())
	}
	return total - min(used, total)
}
