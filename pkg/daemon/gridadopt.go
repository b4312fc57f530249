package daemon

import (
	"context"
	"errors"
	"fmt"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
)

// adoptNetworks stores the grid's documents that name this node, and deletes the
// networks that are not the grid's any more. The owner's word counts whatever is
// attached, and nobody else's. It writes nothing to the registry, which may be slow.
func (d *Daemon) adoptNetworks(ctx context.Context) error {
	d.control.Registry().Carry(d.grid.adopted.names())
	snap := d.control.Registry().Snapshot()
	if snap.Source == gridstore.SourceNone {
		return nil
	}
	local, err := d.store.Snapshot(ctx)
	if err != nil {
		return err
	}
	accepted, err := d.acceptance(snap)
	if err != nil {
		return err
	}
	var errs []error
	for _, network := range sortedNetworks(snap) {
		if document := network.Document; document != nil && accepted.refused(network.Name) == nil && !d.ended(local, document) {
			errs = append(errs, d.adoptNetwork(ctx, local, document))
		}
	}
	if snap.Source != gridstore.SourceCluster { // what the cache lacks may only be unknown
		return errors.Join(errs...)
	}
	for _, name := range d.grid.adopted.names() {
		if d.goes(local, accepted, name, snap.Carried[name]) {
			errs = append(errs, d.releaseNetwork(ctx, name))
		}
	}
	return errors.Join(errs...)
}

// goes tells whether a network that was the grid's has no place here any more.
func (d *Daemon) goes(local registry.Snapshot, accepted acceptance, name string, document *gridstore.Document) bool {
	return document != nil && d.ended(local, document) || accepted.refused(name) != nil && !attached(local, name)
}

// restoreDocuments puts back what is only gone from the registry, of networks that this
// node carries: no owner has said that they end.
func (d *Daemon) restoreDocuments(ctx context.Context) error {
	client := d.control.Registry()
	snap := client.Snapshot()
	if snap.Source != gridstore.SourceCluster {
		return nil
	}
	local, err := d.store.Snapshot(ctx)
	if err != nil {
		return err
	}
	accepted, err := d.acceptance(snap)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range d.grid.adopted.names() {
		document := snap.Carried[name]
		if document != nil && !d.goes(local, accepted, name, document) && errors.Is(accepted.document(name), gridstore.ErrMissing) {
			errs = append(errs, client.PutDocument(ctx, *document))
		}
	}
	return errors.Join(errs...)
}

// ended tells whether a network's document is its end for this node: its owner has
// released it, or does not name this node any more.
func (d *Daemon) ended(local registry.Snapshot, document *gridstore.Document) bool {
	if document.Released {
		return true
	}
	record, stored := local.Network(document.Network)
	if !stored || string(record.Document) != document.Text {
		record = registry.NetworkRecord{Name: document.Network, File: document.File, Document: []byte(document.Text)}
	}
	network, err := d.documents.network(record)
	return err == nil && !network.CarriedBy(d.file.node().Name)
}

func (d *Daemon) adoptNetwork(ctx context.Context, local registry.Snapshot, document *gridstore.Document) error {
	record, stored := local.Network(document.Network)
	if stored && !d.grid.adopted.has(document.Network) {
		return sameName(document.Network)
	}
	if stored && string(record.Document) == document.Text {
		return nil
	}
	documents, _, err := d.decode([]*api.Document{{File: document.File, Text: []byte(document.Text)}})
	if err != nil {
		return fmt.Errorf("network %s of the grid, revision %d: %w", document.Network, document.Revision, err)
	}
	if name := documents[0].network.Name; name != document.Network {
		return fmt.Errorf("network %s of the grid, revision %d: its text is of network %s", document.Network, document.Revision, name)
	}
	if err := d.grid.adopted.set(document.Network, true); err != nil {
		return err
	}
	d.log.Info("the grid's document", "network", document.Network, "revision", document.Revision, "owner", document.Owner)
	return d.put(ctx, documents, true, &api.ApplyResponse{})
}

// releaseNetwork deletes a network that is the grid's. Its key goes once nothing that
// is enforced, or being enforced, has it.
func (d *Daemon) releaseNetwork(ctx context.Context, name string) error {
	var missing *registry.NotFoundError
	d.change.Lock()
	err := d.store.DeleteNetwork(ctx, name, true)
	d.change.Unlock()
	if err != nil && !errors.As(err, &missing) {
		return err
	}
	d.log.Info("no longer in the grid, or no longer here", "network", name)
	_ = d.enforcer.wait(ctx, d.enforcer.request()) // what else fails is tried again there
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errors.Join(d.grid.forgetNetwork(name), d.entrances.forget(name), d.configurations.forget(name), d.grid.adopted.set(name, false))
}

// publishAll publishes what this node carries, once it is enforced: who hears of a
// part can reach it.
func (d *Daemon) publishAll(ctx context.Context) error {
	if d.control.Registry().Snapshot().Source != gridstore.SourceCluster {
		return nil
	}
	failed, whole := failedNetworks(d.enforcer.wait(ctx, d.enforcer.request()))
	if whole {
		return nil // it is logged and tried again there, and its end wakes this again
	}
	v := d.current()
	client := d.control.Registry()
	p := publisher{client, d.file.node(), client.Snapshot(), v.snapshot, v.sends(), v.unheard(), v.input.Entrances, failed}
	return errors.Join(d.publishNextHop(ctx, p), p.publish(ctx, v.parts()))
}

// parts gives this node's own parts of networks, as the last enforcement had them.
func (v view) parts() (list []plan.Part) {
	for _, p := range v.input.Parts {
		if p.Node == v.node {
			list = append(list, p)
		}
	}
	return list
}
