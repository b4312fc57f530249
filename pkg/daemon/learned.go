package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/telemetry"
)

// readEvents hands the datapath's events to those who watch, and keeps the
// addresses that VMs take.
func (d *Daemon) readEvents(ctx context.Context) error {
	reader, err := d.datapath.Maps().ReadEvents()
	if err != nil {
		return err
	}
	learned, err := d.events.Subscribe(telemetry.Filter{Learned: true})
	if err != nil {
		return errors.Join(err, reader.Close())
	}
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		for e := range learned.Events() {
			d.keep(ctx, e)
		}
	}()
	err = d.events.Run(ctx, reader)
	<-kept
	return err
}

// keep stores an address that a VM took. The datapath has bound it already.
func (d *Daemon) keep(ctx context.Context, e telemetry.Event) {
	b := registry.Binding{Network: e.Network, Workload: e.Workload, Address: e.Src, MAC: e.MAC, Learned: e.Time}
	d.log.Info("learned", "network", b.Network, "workload", b.Workload, "address", b.Address, "mac", b.MAC)
	if err := d.store.PutBindings(ctx, []registry.Binding{b}); err != nil {
		d.log.Error("keep a learned address; the datapath has it until the workload goes",
			"network", b.Network, "workload", b.Workload, "address", b.Address, "error", err)
	}
}

// adoptLearned stores the addresses that the datapath learned while no daemon
// ran.
func (d *Daemon) adoptLearned(ctx context.Context) error {
	snap, err := d.store.Snapshot(ctx)
	if err != nil {
		return err
	}
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
	bound, err := d.datapath.Maps().AllBindings()
	if err != nil {
		return fmt.Errorf("read the learned addresses: %w", err)
	}
	for key, b := range bound {
		network := networks[b.Network]
		workload, attached := taps[host{network, b.Workload}]
		if b.Learned == 0 || !attached || known(snap, network, key.Address.Addr()) {
			continue
		}
		d.keep(ctx, telemetry.Event{
			Network: network, Workload: workload, Src: key.Address.Addr(), MAC: net.HardwareAddr(b.Mac.Bytes[:]).String(), Time: time.Now(),
		})
	}
	return nil
}

func known(snap registry.Snapshot, network string, address netip.Addr) bool {
	for _, b := range snap.Bindings {
		if b.Network == network && b.Address == address {
			return true
		}
	}
	return false
}
