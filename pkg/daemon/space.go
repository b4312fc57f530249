package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
	"github.com/zosnet/zosnet/pkg/spec"
)

// giving is node.yaml with the prefixes that networks get /64s from now. Whoever
// gives one from them holds d.change.
func (d *Daemon) giving(local registry.Snapshot) *spec.Node {
	return giving(d.file.node(), local, d.inGrid())
}

// spacious is node.yaml with all of this node's address space.
func (d *Daemon) spacious(local registry.Snapshot) *spec.Node {
	return spacious(d.file.node(), local, d.given())
}

// stranded says which networks have a /64 that is in nothing that this node gives from
// any more. They keep it, since moving one renumbers its workloads.
func (d *Daemon) stranded(local registry.Snapshot) (list []string) {
	return stranded(d.giving(local), local.IPAM, d.inGrid())
}

func stranded(giving *spec.Node, state ipam.State, inGrid bool) (list []string) {
	blocks, err := ipam.ParseBlocks(giving.Prefixes)
	if err != nil {
		return nil // what is wrong with node.yaml is said elsewhere
	}
	what := "in no prefix of this node any more: it works as long as that is routed here"
	if inGrid {
		what = "in no block of this node any more: other nodes leave it out, and an hour after the block was taken back somebody else may have it"
	}
	for _, s := range state.Stranded(blocks) {
		list = append(list, fmt.Sprintf("network %s has %s, which is %s; delete the network and apply it again", s.Network, s.Prefix, what))
	}
	return list
}

// given tells what this node has given away of what it holds, as far as it knows:
// also without the registry.
func (d *Daemon) given() map[netip.Prefix]ipam.Delegation {
	if !d.inGrid() || d.control.Registry() == nil {
		return nil
	}
	snap := d.control.Registry().Snapshot()
	if self := snap.Nodes[d.file.node().Name]; self != nil {
		return self.Holding.Blocks
	}
	return nil
}

// awaitBlock waits until this node has a /64 left to give in the grid, as long as
// somebody is asked for a block and may answer.
func (d *Daemon) awaitBlock(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, blockPatience)
	defer cancel()
	changed := d.store.Watch(ctx, 0)
	for {
		local, err := d.store.Snapshot(ctx)
		if err != nil {
			return
		}
		now := time.Now()
		blocks, err := ipam.ParseBlocks(d.giving(local).Prefixes)
		if err != nil {
			return
		}
		if _, _, err := local.IPAM.Allocate(blocks, "", d.file.node().Name, now); err == nil || !d.mayGetBlock(now) {
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
func (d *Daemon) mayGetBlock(now time.Time) bool {
	client := d.control.Registry()
	if client == nil {
		return false
	}
	snap, name := client.Snapshot(), d.file.node().Name
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

// exhausted adds to an error that says that this node has no /64 left why it gets no
// further block of the grid.
func (d *Daemon) exhausted(err error) error {
	if err == nil || !d.inGrid() {
		return err
	}
	var snap gridstore.Snapshot
	if client := d.control.Registry(); client != nil {
		snap = client.Snapshot()
	}
	return noBlock(err, snap, d.file.node().Name, time.Now())
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

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
