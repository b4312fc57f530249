package daemon

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/zosnet/zosnet/pkg/apply"
	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/registry"
)

// view is what one enforcement set out to enforce. Its values are never changed.
type view struct {
	node     string
	revision int64 // of the registry
	snapshot registry.Snapshot
	input    plan.Input
	state    plan.State
	overlays []plan.Overlay // as they were last enforced
	applied  int64          // revision that was enforced whole
	when     time.Time
}

// enforce brings the kernel to what the registry and node.yaml say now.
func (d *Daemon) enforce(ctx context.Context) error {
	snap, err := d.store.Snapshot(ctx)
	if err != nil {
		return err
	}
	d.expectTrialEnd(snap)
	input, state, err := d.compute(snap, makeKeys)
	if err == nil && d.current().node == "" && len(state.Overlays) > 0 {
		// What goes which way follows from the sessions that the devices have: those of
		// the last daemon.
		if err := d.sessions.read(devicesOf(state), time.Now()); err != nil {
			d.log.Warn("read the sessions of overlays", "error", err)
		}
		input, state, err = d.compute(snap, makeKeys)
	}
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.view.node, d.view.revision, d.view.snapshot, d.view.input, d.view.state = state.Node, snap.Revision, snap, input, state
	d.mu.Unlock()
	d.planned.Do(func() { close(d.hasPlan) })
	result, err := d.applier.Apply(ctx, state)
	for _, c := range result.Changes {
		d.log.Info("changed", "object", c.Object, "action", c.Action, "detail", c.Detail)
	}
	if failed, more := failedNetworks(err); !more {
		d.mu.Lock()
		d.view.overlays = enforcedOverlays(d.view.overlays, state.Overlays, failed)
		d.mu.Unlock()
		d.calls.enforced(result.Changes)
	}
	if onlyWorkloads(err) {
		// Nothing else is missing, and rules change in the new maps only.
		if err := d.datapath.Commit(); err != nil {
			return fmt.Errorf("switch to the new layout of the maps: %w", err)
		}
	}
	if err = with(err, d.resolvers.settle(state)); err != nil {
		return err
	}
	d.metrics.Applied(result.Took)
	d.mu.Lock()
	d.view.applied, d.view.when = snap.Revision, time.Now()
	d.mu.Unlock()
	return nil
}

// enforcedOverlays gives the overlays as they are now: of a network that failed as they
// were.
func enforcedOverlays(before, want []plan.Overlay, failed map[string]bool) []plan.Overlay {
	if len(failed) == 0 {
		return want
	}
	return slices.Concat(
		slices.DeleteFunc(slices.Clone(want), func(o plan.Overlay) bool { return failed[o.Network] }),
		slices.DeleteFunc(slices.Clone(before), func(o plan.Overlay) bool { return !failed[o.Network] }))
}

// compute gives the state that follows from a snapshot.
func (d *Daemon) compute(snap registry.Snapshot, keys keyMaking) (plan.Input, plan.State, error) {
	mtu, err := apply.UplinkMTU(d.file.node().Uplinks)
	if err != nil {
		return plan.Input{}, plan.State{}, err
	}
	if mtu == 0 { // the cable is out for a moment
		mtu = d.current().input.MTU
	}
	input, err := d.documents.input(d.space.Whole(snap), mtu, snap, time.Now())
	if err != nil {
		return input, plan.State{}, err
	}
	if grid := d.control.State(); grid != nil {
		input = openControl(input)
		input.Reserved = []netip.Prefix{grid.Control}
	}
	if err := d.addOthers(&input, snap, keys); err != nil {
		return input, plan.State{}, err
	}
	if err := d.entrances.add(&input, keys); err != nil {
		return input, plan.State{}, err
	}
	state, err := d.plans.Compute(input)
	return input, state, err
}

// current gives what the last enforcement set out to enforce.
func (d *Daemon) current() view {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.view
}
