package delegation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
)

// blockPatience is how long whoever applies a network waits for a block to give its
// /64 from.
const blockPatience = 20 * time.Second

// AwaitBlock waits until this node has a /64 left to give in the grid, as long as
// somebody is asked for a block and may answer.
func (s *Space) AwaitBlock(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, blockPatience)
	defer cancel()
	changed := s.store.Watch(ctx, 0)
	for {
		local, err := s.store.Snapshot(ctx)
		if err != nil {
			return
		}
		now := time.Now()
		blocks, err := ipam.ParseBlocks(s.Giving(local).Prefixes)
		if err != nil {
			return
		}
		if _, _, err := local.IPAM.Allocate(blocks, "", s.node().Name, now); err == nil || !s.mayGetBlock(now) {
			return
		}
		select {
		case _, open := <-changed:
			if !open {
				return
			}
		case <-time.After(time.Second): // what may be had has changed
		case <-ctx.Done():
			return
		}
	}
}

// mayGetBlock tells whether it is worth while to wait for a block.
func (s *Space) mayGetBlock(now time.Time) bool {
	client := s.grid()
	if client == nil {
		return false
	}
	snap, name := client.Snapshot(), s.node().Name
	if snap.Source != gridstore.SourceCluster || now.Sub(snap.Confirmed) > time.Minute {
		return false
	}
	self := snap.Nodes[name]
	switch {
	case self == nil || self.Request == nil && len(self.Holding.Registrations) == 0:
		return true // it has just joined
	case canGive(snap, name, name, now):
		return true
	}
	return self.Request != nil && canGive(snap, self.Request.Holder, name, now)
}

// Exhausted adds to an error that says that this node has no /64 left why it gets no
// further block of the grid.
func (s *Space) Exhausted(err error) error {
	if err == nil || !s.inGrid() {
		return err
	}
	var snap gridstore.Snapshot
	if client := s.grid(); client != nil {
		snap = client.Snapshot()
	}
	return noBlock(err, snap, s.node().Name, time.Now())
}

func noBlock(err error, snap gridstore.Snapshot, node string, now time.Time) error {
	var none *ipam.ExhaustedError
	if !errors.As(err, &none) || none.What != "a /64" {
		return err
	}
	if snap.Source != gridstore.SourceCluster {
		return fmt.Errorf("%w; the grid's registry cannot be reached, so no further block can be had", err)
	}
	holder, why := chooseHolder(knownHoldings(snap), node, "", now)
	if holder != "" {
		return fmt.Errorf("%w; a further block is asked of node %s, which has not answered yet: try again in a moment", err, holder)
	}
	return fmt.Errorf("%w; %w", err, why)
}
