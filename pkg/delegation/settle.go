package delegation

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

// gridLook is one look at the grid's registry.
type gridLook struct {
	client *gridstore.Client
	snap   gridstore.Snapshot
	now    time.Time
}

// Settle brings what this node holds, has and needs of the grid's address space to what
// its registry says, and the other way round. Without the registry nothing changes: what
// this node has it has also then.
func (s *Space) Settle(ctx context.Context, client *gridstore.Client, now time.Time) error {
	err := s.settle(ctx, client, now)
	what := ""
	if err != nil {
		what = err.Error()
	}
	s.unsettled.Store(&what)
	return err
}

func (s *Space) settle(ctx context.Context, client *gridstore.Client, now time.Time) error {
	s.holding.Lock()
	defer s.holding.Unlock()
	look := gridLook{client, client.Snapshot(), now}
	if look.snap.Source != gridstore.SourceCluster {
		return nil
	}
	local, err := s.store.Snapshot(ctx)
	if err != nil {
		return err
	}
	holding, errHeld := s.settleHolding(ctx, look, local)
	if errors.Is(errHeld, errNotWritten) {
		return errHeld
	}
	if local, err = s.takeBlocks(ctx, look, holding); err != nil {
		return errors.Join(errHeld, err)
	}
	return errors.Join(errHeld, s.askForBlocks(ctx, look, local))
}

// errNotWritten says that what this node holds could not be written to the grid.
var errNotWritten = errors.New("publish this node's prefixes and blocks")

// settleHolding brings what this node holds to what is registered here and asked of
// it, and gives it as it is then.
func (s *Space) settleHolding(ctx context.Context, look gridLook, local registry.Snapshot) (ipam.Holding, error) {
	node := s.node()
	need := held{node: node.Name, registrations: registrations(node, local), local: local, requests: requestsOf(look.snap), removed: removedOf(look.snap)}
	have := ipam.Holding{Holder: node.Name}
	if self := look.snap.Nodes[node.Name]; !look.client.Heard(look.snap) {
		have = s.written
	} else if self != nil {
		have = self.Holding
	}
	if len(need.registrations) == 0 && len(have.Registrations) == 0 {
		return have, nil
	}
	back := need.apart(have)
	next, wrong := need.bring(have, look.now)
	if sameHolding(have, next) {
		return s.takeBack(ctx, look, need, have, back, wrong)
	}
	next, err := s.update(ctx, look.client, func(h ipam.Holding, from *gridstore.Others) (ipam.Holding, error) {
		need.others = from.Holdings
		var brought ipam.Holding
		brought, wrong = need.bring(h, look.now)
		return brought, nil
	})
	if err != nil {
		return have, fmt.Errorf("%w: %w", errNotWritten, err)
	}
	return s.takeBack(ctx, look, need, next, back, wrong)
}

// update changes what this node holds in the grid, and remembers it. Whoever calls it
// holds s.holding.
func (s *Space) update(ctx context.Context, client *gridstore.Client, compute func(ipam.Holding, *gridstore.Others) (ipam.Holding, error)) (ipam.Holding, error) {
	next, err := client.UpdateHolding(ctx, compute)
	if err == nil {
		s.written = next
	}
	return next, err
}

// takeBack lets blocks rest that nodes give back, each if its node says so still: it
// may have meanwhile begun to use it again. Who keeps saying something else holds up
// nobody but itself.
func (s *Space) takeBack(ctx context.Context, look gridLook, need held, have ipam.Holding, nodes []string, wrong error) (ipam.Holding, error) {
	for _, node := range nodes {
		next, err := s.update(ctx, look.client, func(h ipam.Holding, from *gridstore.Others) (ipam.Holding, error) {
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
func (s *Space) takeBlocks(ctx context.Context, look gridLook, own ipam.Holding) (registry.Snapshot, error) {
	s.change.Lock() // a /64 is given from what is noted
	defer s.change.Unlock()
	local, err := s.store.Snapshot(ctx)
	if err != nil {
		return local, err
	}
	node := s.node()
	next := blocksAfter(node.Name, local.Blocks, look.snap, own, look.client.Heard(look.snap))
	next = giveBack(node, local, next, look.now)
	if slices.Equal(next, local.Blocks) {
		return local, nil
	}
	if err := s.store.PutBlocks(ctx, next); err != nil {
		return local, err
	}
	s.tellBlocks(local, next)
	local.Blocks = next
	return local, nil
}

// tellBlocks logs which blocks came and went.
func (s *Space) tellBlocks(before registry.Snapshot, next []registry.Block) {
	for _, b := range next {
		switch had, known := blockIn(before.Blocks, b.Block); {
		case !known:
			s.log.Info("a block for this node's networks", "block", b.Block, "holder", b.Holder)
		case b.GivenBack && !had.GivenBack:
			s.log.Info("a block that no network needs goes back", "block", b.Block, "holder", b.Holder)
		}
	}
	for _, b := range before.Blocks {
		switch _, kept := blockIn(next, b.Block); {
		case kept:
		case b.GivenBack:
			s.log.Info("a block is given back", "block", b.Block, "holder", b.Holder)
		default:
			s.log.Warn("a block was taken back", "block", b.Block, "holder", b.Holder, "networks", networksIn(before, b.Block))
		}
	}
}

// blocksAfter gives a node's blocks as the holders that it hears say, by block. What
// is not in the prefixes of who gives it is not his to give. Whether the snapshot has
// heard what the node itself wrote last is said besides.
func blocksAfter(node string, have []registry.Block, snap gridstore.Snapshot, own ipam.Holding, heard bool) (next []registry.Block) {
	holders := map[string]ipam.Holding{node: own}
	if self := snap.Nodes[node]; self != nil && self.Request != nil {
		for _, name := range append([]string{self.Request.Holder}, self.Request.Others...) {
			holders[name] = ipam.Holding{}
			if holder := snap.Nodes[name]; holder != nil {
				holders[name] = holder.Holding
			}
		}
		holders[node] = own
	}
	for holder, h := range holders {
		for _, block := range h.Of(node) {
			if slices.ContainsFunc(h.Prefixes(), func(p netip.Prefix) bool { return p.Bits() <= block.Bits() && p.Contains(block.Addr()) }) {
				next = append(next, registry.Block{Block: block, Holder: holder})
			}
		}
	}
	for _, b := range have {
		if _, known := holders[b.Holder]; !known {
			next = append(next, b)
		}
	}
	next = keepGivenBack(node, have, next, snap, heard)
	slices.SortFunc(next, func(a, b registry.Block) int { return a.Block.Compare(b.Block) })
	return slices.CompactFunc(next, func(a, b registry.Block) bool { return a.Block.Overlaps(b.Block) })
}

// askForBlocks asks a holder for a further block where those that this node has are
// nearly used up, and it holds none that it could take itself; and it asks to be rid of
// those that it gives back.
func (s *Space) askForBlocks(ctx context.Context, look gridLook, local registry.Snapshot) error {
	node := s.node()
	a := asking{node: node.Name, exit: node.Exit, snap: look.snap, local: local, using: inUse(node, local), now: look.now}
	next, err := a.request(func() (map[string]ipam.Holding, error) { return look.client.Holdings(ctx) })
	if err != nil {
		return fmt.Errorf("ask for a block: %w", err)
	}
	if next == nil || a.asked() != nil && a.asked().Same(*next) {
		return nil
	}
	s.log.Info("ask for blocks", "holder", next.Holder, "blocks", next.Blocks, "release", next.Release)
	return look.client.PutRequest(ctx, a.asked(), *next)
}
