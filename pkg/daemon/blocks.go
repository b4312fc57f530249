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

// settleBlocks brings what this node holds, has and needs of the grid's address space
// to what the registry says, and the other way round. Without the registry nothing
// changes: what this node has it has also then.
func (d *Daemon) settleBlocks(ctx context.Context) error {
	client := d.control.Registry()
	snap := client.Snapshot()
	if snap.Source != gridstore.SourceCluster {
		return nil
	}
	d.holding.Lock()
	defer d.holding.Unlock()
	local, err := d.store.Snapshot(ctx)
	if err != nil {
		return err
	}
	holding, errHeld := d.settleHolding(ctx, client, snap, local)
	if errors.Is(errHeld, errNotWritten) {
		return errHeld
	}
	if local, err = d.takeBlocks(ctx, snap, holding); err != nil {
		return errors.Join(errHeld, err)
	}
	return errors.Join(errHeld, d.askForBlocks(ctx, client, snap, local))
}

// errNotWritten says that what this node holds could not be written to the grid.
var errNotWritten = errors.New("publish this node's prefixes and blocks")

// settleHolding brings what this node holds to what is registered here and asked of
// it, and gives it as it is then.
func (d *Daemon) settleHolding(ctx context.Context, client *gridstore.Client, snap gridstore.Snapshot, local registry.Snapshot) (ipam.Holding, error) {
	node := d.file.node()
	need := held{node: node.Name, registrations: registrations(node, local), local: local, requests: requestsOf(snap), removed: removedOf(snap)}
	have := ipam.Holding{Holder: node.Name}
	if self := snap.Nodes[node.Name]; self != nil {
		have = self.Holding
	}
	if len(need.registrations) == 0 && len(have.Registrations) == 0 {
		return have, nil
	}
	next, wrong := need.bring(have, time.Now())
	if sameHolding(have, next) {
		return have, wrong
	}
	others, err := client.Holdings(ctx)
	if err != nil {
		return have, fmt.Errorf("%w: %w", errNotWritten, err)
	}
	delete(others, node.Name)
	for _, h := range others {
		need.others = append(need.others, h)
	}
	next, err = client.UpdateHolding(ctx, func(h ipam.Holding) (ipam.Holding, error) {
		var brought ipam.Holding
		brought, wrong = need.bring(h, time.Now())
		return brought, nil
	})
	if err != nil {
		return have, fmt.Errorf("%w: %w", errNotWritten, err)
	}
	return next, wrong
}

// takeBlocks notes here which blocks this node has: its own, and what those whom it
// asks have delegated to it. Of a holder that is not heard, what it has stays.
func (d *Daemon) takeBlocks(ctx context.Context, snap gridstore.Snapshot, own ipam.Holding) (registry.Snapshot, error) {
	d.change.Lock() // a /64 is given from what is noted
	defer d.change.Unlock()
	local, err := d.store.Snapshot(ctx)
	if err != nil {
		return local, err
	}
	next := blocksAfter(d.file.node().Name, local.Blocks, snap, own)
	if slices.Equal(next, local.Blocks) {
		return local, nil
	}
	if err := d.store.PutBlocks(ctx, next); err != nil {
		return local, err
	}
	for _, b := range next {
		if !slices.Contains(local.Blocks, b) {
			d.log.Info("a block for this node's networks", "block", b.Block, "holder", b.Holder)
		}
	}
	for _, b := range local.Blocks {
		if !slices.Contains(next, b) {
			d.log.Warn("a block was taken back", "block", b.Block, "holder", b.Holder, "networks", networksIn(local, b.Block))
		}
	}
	local.Blocks = next
	return local, nil
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
	slices.SortFunc(next, func(a, b registry.Block) int { return a.Block.Compare(b.Block) })
	return slices.CompactFunc(next, func(a, b registry.Block) bool { return a.Block.Overlaps(b.Block) })
}

// askForBlocks asks a holder for a further block where those that this node has are
// nearly used up, and it holds none that it could take itself.
func (d *Daemon) askForBlocks(ctx context.Context, client *gridstore.Client, snap gridstore.Snapshot, local registry.Snapshot) error {
	node := d.file.node()
	local.Blocks = inUse(node, local)
	a := asking{node: node.Name, exit: node.Exit, snap: snap, local: local, now: time.Now()}
	next, err := a.request(func() (map[string]ipam.Holding, error) { return client.Holdings(ctx) })
	if err != nil {
		return fmt.Errorf("ask for a block: %w", err)
	}
	if asked := a.asked(); next == nil || asked != nil && asked.Holder == next.Holder && asked.Blocks == next.Blocks && slices.Equal(asked.Others, next.Others) {
		return nil
	}
	d.log.Info("ask for blocks", "holder", next.Holder, "blocks", next.Blocks)
	return client.PutRequest(ctx, *next)
}

// asking is what a node's request for blocks follows from.
type asking struct {
	node, exit string
	snap       gridstore.Snapshot
	local      registry.Snapshot
	now        time.Time
}

// asked gives what the node asks already, or nil.
func (a asking) asked() *ipam.Request {
	if self := a.snap.Nodes[a.node]; self != nil {
		return self.Request
	}
	return nil
}

// request gives what the node is to ask, or nil where it has enough. Who holds what in
// the whole grid is read only where the holder that was asked has no block left. It is
// an error only for a node without any block that there is none.
func (a asking) request(every func() (map[string]ipam.Holding, error)) (*ipam.Request, error) {
	have, err := ipam.ParseBlocks(blocksOf(a.local.Blocks))
	if err != nil {
		return nil, err
	}
	more := a.local.IPAM.Wanted(have, a.now) - len(have.Prefixes())
	if more <= 0 {
		return nil, nil
	}
	if asked := a.asked(); asked != nil && canGive(a.snap, asked.Holder, a.node, a.now) {
		return requestFor(a.node, asked.Holder, a.local.Blocks, more), nil
	}
	holdings, err := every()
	if err != nil {
		return nil, err
	}
	delete(holdings, a.node)
	holder, err := chooseHolder(holdings, a.node, a.exit, a.now)
	switch {
	case holder != "":
		return requestFor(a.node, holder, a.local.Blocks, more), nil
	case len(have.Prefixes()) > 0:
		return nil, nil // there are /64s still; who lacks one is told
	}
	return nil, err
}

// requestFor asks a holder for more blocks than the node has of it, and names those
// whom it has blocks of besides.
func requestFor(node, holder string, have []registry.Block, more int) *ipam.Request {
	r := &ipam.Request{Holder: holder, Blocks: more}
	for _, b := range have {
		switch {
		case b.Holder == holder:
			r.Blocks++
		case b.Holder != node && !slices.Contains(r.Others, b.Holder):
			r.Others = append(r.Others, b.Holder)
		}
	}
	slices.Sort(r.Others)
	return r
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
