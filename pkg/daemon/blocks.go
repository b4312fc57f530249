package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
)

// blockPatience is how long whoever applies a network waits for a block to give its
// /64 from.
const blockPatience = 20 * time.Second

// gridLook is one look at the grid's registry.
type gridLook struct {
	client *gridstore.Client
	snap   gridstore.Snapshot
	now    time.Time
}

// settleBlocks brings what this node holds, has and needs of the grid's address space
// to what the registry says, and the other way round. Without the registry nothing
// changes: what this node has it has also then.
func (d *Daemon) settleBlocks(ctx context.Context, client *gridstore.Client, now time.Time) error {
	look := gridLook{client, client.Snapshot(), now}
	if look.snap.Source != gridstore.SourceCluster {
		return nil
	}
	d.holding.Lock()
	defer d.holding.Unlock()
	local, err := d.store.Snapshot(ctx)
	if err != nil {
		return err
	}
	holding, errHeld := d.settleHolding(ctx, look, local)
	if errors.Is(errHeld, errNotWritten) {
		return errHeld
	}
	if local, err = d.takeBlocks(ctx, look, holding); err != nil {
		return errors.Join(errHeld, err)
	}
	return errors.Join(errHeld, d.askForBlocks(ctx, look, local))
}

// errNotWritten says that what this node holds could not be written to the grid.
var errNotWritten = errors.New("publish this node's prefixes and blocks")

// settleHolding brings what this node holds to what is registered here and asked of
// it, and gives it as it is then.
func (d *Daemon) settleHolding(ctx context.Context, look gridLook, local registry.Snapshot) (ipam.Holding, error) {
	node := d.file.node()
	need := held{node: node.Name, registrations: registrations(node, local), local: local, requests: requestsOf(look.snap), removed: removedOf(look.snap)}
	have := ipam.Holding{Holder: node.Name}
	if self := look.snap.Nodes[node.Name]; self != nil {
		have = self.Holding
	}
	if len(need.registrations) == 0 && len(have.Registrations) == 0 {
		return have, nil
	}
	back := need.apart(have)
	next, wrong := need.bring(have, look.now)
	if sameHolding(have, next) {
		return d.takeBack(ctx, look, need, have, back, wrong)
	}
	next, err := look.client.UpdateHolding(ctx, func(h ipam.Holding, from *gridstore.Others) (ipam.Holding, error) {
		need.others = from.Holdings
		var brought ipam.Holding
		brought, wrong = need.bring(h, look.now)
		return brought, nil
	})
	if err != nil {
		return have, fmt.Errorf("%w: %w", errNotWritten, err)
	}
	return d.takeBack(ctx, look, need, next, back, wrong)
}

// takeBack lets blocks rest that nodes give back, each if its node says so still: it
// may have meanwhile begun to use it again. Who keeps saying something else holds up
// nobody but itself.
func (d *Daemon) takeBack(ctx context.Context, look gridLook, need held, have ipam.Holding, nodes []string, wrong error) (ipam.Holding, error) {
	for _, node := range nodes {
		next, err := look.client.UpdateHolding(ctx, func(h ipam.Holding, from *gridstore.Others) (ipam.Holding, error) {
			r, asks := from.Request(node)
			if !asks || !modest(r) {
				return h, nil
			}
			h, _ = need.answer(h, map[string]ipam.Request{node: r}, look.now) // that it gets no other for it is said later
			return h, nil
		})
		if err != nil {
			wrong = errors.Join(wrong, fmt.Errorf("take back what node %s gives back: %w", node, err))
			continue
		}
		have = next
	}
	return have, wrong
}

// takeBlocks notes here which blocks this node has: its own, and what those whom it
// asks have delegated to it. Of a holder that is not heard, what it has stays.
func (d *Daemon) takeBlocks(ctx context.Context, look gridLook, own ipam.Holding) (registry.Snapshot, error) {
	d.change.Lock() // a /64 is given from what is noted
	defer d.change.Unlock()
	local, err := d.store.Snapshot(ctx)
	if err != nil {
		return local, err
	}
	node := d.file.node()
	next := blocksAfter(node.Name, local.Blocks, look.snap, own)
	next = giveBack(node, local, next, look.now)
	if slices.Equal(next, local.Blocks) {
		return local, nil
	}
	if err := d.store.PutBlocks(ctx, next); err != nil {
		return local, err
	}
	d.tellBlocks(local, next)
	local.Blocks = next
	return local, nil
}

// tellBlocks logs which blocks came and went.
func (d *Daemon) tellBlocks(before registry.Snapshot, next []registry.Block) {
	for _, b := range next {
		switch had, known := blockIn(before.Blocks, b.Block); {
		case !known:
			d.log.Info("a block for this node's networks", "block", b.Block, "holder", b.Holder)
		case b.GivenBack && !had.GivenBack:
			d.log.Info("a block that no network needs goes back", "block", b.Block, "holder", b.Holder)
		}
	}
	for _, b := range before.Blocks {
		switch _, kept := blockIn(next, b.Block); {
		case kept:
		case b.GivenBack:
			d.log.Info("a block is given back", "block", b.Block, "holder", b.Holder)
		default:
			d.log.Warn("a block was taken back", "block", b.Block, "holder", b.Holder, "networks", networksIn(before, b.Block))
		}
	}
}

// blocksAfter gives a node's blocks as the holders that it hears say, by block. What
// is not in the prefixes of who gives it is not his to give.
func blocksAfter(node string, have []registry.Block, snap gridstore.Snapshot, own ipam.Holding) (next []registry.Block) {
	heard := map[string]ipam.Holding{node: own}
	if self := snap.Nodes[node]; self != nil && self.Request != nil {
		for _, name := range append([]string{self.Request.Holder}, self.Request.Others...) {
			heard[name] = ipam.Holding{}
			if holder := snap.Nodes[name]; holder != nil {
				heard[name] = holder.Holding
			}
		}
		heard[node] = own
	}
	for holder, h := range heard {
		for _, block := range h.Of(node) {
			if slices.ContainsFunc(h.Prefixes(), func(p netip.Prefix) bool { return p.Bits() <= block.Bits() && p.Contains(block.Addr()) }) {
				next = append(next, registry.Block{Block: block, Holder: holder})
			}
		}
	}
	for _, b := range have {
		if _, known := heard[b.Holder]; !known {
			next = append(next, b)
		}
	}
	next = keepGivenBack(node, have, next, snap)
	slices.SortFunc(next, func(a, b registry.Block) int { return a.Block.Compare(b.Block) })
	return slices.CompactFunc(next, func(a, b registry.Block) bool { return a.Block.Overlaps(b.Block) })
}

// askForBlocks asks a holder for a further block where those that this node has are
// nearly used up, and it holds none that it could take itself; and it asks to be rid of
// those that it gives back.
func (d *Daemon) askForBlocks(ctx context.Context, look gridLook, local registry.Snapshot) error {
	node := d.file.node()
	a := asking{node: node.Name, exit: node.Exit, snap: look.snap, local: local, using: inUse(node, local), now: look.now}
	next, err := a.request(func() (map[string]ipam.Holding, error) { return look.client.Holdings(ctx) })
	if err != nil {
		return fmt.Errorf("ask for a block: %w", err)
	}
	if next == nil || a.asked() != nil && a.asked().Same(*next) {
		return nil
	}
	d.log.Info("ask for blocks", "holder", next.Holder, "blocks", next.Blocks, "release", next.Release)
	return look.client.PutRequest(ctx, a.asked(), *next)
}

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
	for _, name := range sortedKeys(holdings) {
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
