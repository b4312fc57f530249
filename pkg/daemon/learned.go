package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/zosnet/zosnet/pkg/maps"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/telemetry"
)

// readEvents hands the datapath's events to those who watch. One that tells of a
// learned address has all that are new stored: events may be lost, bindings are
// not.
func (d *Daemon) readEvents(ctx context.Context) error {
	reader, err := d.datapath.Maps().ReadEvents()
	if err != nil {
		return err
	}
	learned, err := d.events.Subscribe(telemetry.Filter{Learned: true})
	if err != nil {
		return errors.Join(err, reader.Close())
	}
	adopted := make(chan struct{})
	go func() {
		defer close(adopted)
		for range learned.Events() {
			d.adoptLearned(ctx)
		}
	}()
	select {
	case <-d.hasPlan: // before, nobody knows the names; the ring buffer holds what comes
	case <-ctx.Done():
	}
	err = d.events.Run(ctx, reader)
	<-adopted
	return err
}

// adoptLearned stores the addresses that VMs took, and that the datapath has
// bound already, also while no daemon ran. What cannot be stored now is with the
// next one.
func (d *Daemon) adoptLearned(ctx context.Context) {
	if err := d.storeLearned(ctx); err != nil && ctx.Err() == nil {
		d.log.Error("store learned addresses; the datapath has them until their workloads go", "error", err)
	}
}

func (d *Daemon) storeLearned(ctx context.Context) error {
	d.learning.Lock()
	defer d.learning.Unlock()
	snap, err := d.store.Snapshot(ctx)
	if err != nil {
		return err
	}
	bound, err := d.datapath.Maps().AllBindings()
	if err != nil {
		return fmt.Errorf("read the learned addresses: %w", err)
	}
	var errs []error
	for _, b := range unknown(snap, bound, time.Now()) {
		d.log.Info("learned", "network", b.Network, "workload", b.Workload, "address", b.Address, "mac", b.MAC)
		// One by one: one that clashes must not keep the others out.
		errs = append(errs, d.store.PutBindings(ctx, []registry.Binding{b}))
	}
	return errors.Join(errs...)
}

// unknown gives the learned addresses of attached VMs that the registry has not.
func unknown(snap registry.Snapshot, bound map[maps.BindingKey]maps.Binding, now time.Time) (list []registry.Binding) {
	networks := map[uint32]string{}
	for _, n := range snap.Networks {
		networks[n.ID] = n.Name
	}
	type host struct {
		network string
		number  uint32
	}
	taps := map[host]string{}
	for _, a := range snap.Attachments {
		if a.Kind == registry.AttachmentTap {
			taps[host{a.Network, a.Host}] = a.Name
		}
	}
	for key, b := range bound {
		network, address := networks[b.Network], key.Address.Addr()
		workload, attached := taps[host{network, b.Workload}]
		if b.Learned != 0 && attached && !known(snap, network, address) {
			list = append(list, registry.Binding{Network: network, Workload: workload, Address: address, MAC: b.Mac.String(), Learned: now})
		}
	}
	slices.SortFunc(list, func(a, b registry.Binding) int { return a.Address.Compare(b.Address) })
	return list
}

func known(snap registry.Snapshot, network string, address netip.Addr) bool {
	for _, b := range snap.Bindings {
		if b.Network == network && b.Address == address {
			return true
		}
	}
	return false
}
