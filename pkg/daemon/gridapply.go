package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
	"github.com/zosnet/zosnet/pkg/trust"
)

// GetOwnership implements the API.
func (d *Daemon) GetOwnership(ctx context.Context, r *api.OwnershipRequest) (*api.Ownership, error) {
	o := &api.Ownership{Network: r.Network, Grid: d.inGrid()}
	if !o.Grid {
		return o, nil
	}
	client, err := d.openedRegistry(ctx)
	if err != nil {
		return nil, err
	}
	document, err := client.Document(ctx, r.Network)
	if err != nil || document == nil {
		return o, err
	}
	o.Revision = document.Revision
	if pin := client.Pins()[r.Network]; !document.Released && (!pin.Released || pin.Revision != document.Revision) {
		o.Owner = document.Owner.String()
	}
	return o, nil
}

func (d *Daemon) inGrid() bool { return d.control != nil && d.control.State() != nil }

// ownNetwork tells whether this node has a network for itself, not from a grid.
func (d *Daemon) ownNetwork(ctx context.Context, name string) (bool, error) {
	snap, err := d.store.Snapshot(ctx)
	if err != nil {
		return false, err
	}
	_, stored := snap.Network(name)
	return stored && (d.grid == nil || !d.grid.adopted.has(name)), nil
}

func (d *Daemon) openedRegistry(ctx context.Context) (*gridstore.Client, error) {
	if client := d.control.Known(ctx); client != nil {
		return client, nil
	}
	return nil, refused("this node is in a grid whose registry is not open yet; try again in a moment")
}

// grids gives the registry of the grid that this node is in, nil if it is in none.
func (d *Daemon) grids(ctx context.Context) (*gridstore.Client, error) {
	if !d.inGrid() {
		return nil, nil
	}
	return d.openedRegistry(ctx)
}

// signedDocument puts together what an owner signed.
func signedDocument(network, text string, s *api.Signature) (trust.Document, error) {
	if s == nil {
		return trust.Document{}, invalid(fmt.Sprintf(
			"network %s: this node is in a grid, where owners sign documents; `zosnet apply` does it with the key that `zosnet key new` makes", network))
	}
	owner, err := trust.ParseOwner(s.Owner)
	if err != nil {
		return trust.Document{}, invalid(err.Error())
	}
	return trust.Document{Network: network, Revision: s.Revision, Text: text, Owner: owner, Signature: s.Value}, nil
}

// putInGrid stores documents in the grid, each as its owner's next revision, and
// returns when this node has them too.
func (d *Daemon) putInGrid(ctx context.Context, documents []document, force bool, response *api.ApplyResponse) error {
	client, err := d.openedRegistry(ctx)
	if err != nil {
		return err
	}
	signed := make([]trust.Document, len(documents))
	for i, document := range documents {
		if signed[i], err = signedDocument(document.network.Name, string(document.text), document.signed); err != nil {
			return err
		}
	}
	node := d.file.node().Name
	if local, err := d.store.Snapshot(ctx); err != nil {
		return err
	} else if needsPrefix(local, node, documents) {
		d.space.AwaitBlock(ctx)
	}
	response.DryRun = true // refuse here what would be refused here
	err = d.put(ctx, documents, force, response)
	response.DryRun = false
	if err != nil {
		return err
	}
	accept, err := trust.ParseAccept(d.file.node().Accept)
	if err != nil {
		return err
	}
	for i, document := range documents {
		name := document.network.Name
		here := document.network.CarriedBy(node)
		if here && !accept.Allows(signed[i].Owner) {
			here = false
			response.Warnings = append(response.Warnings, fmt.Sprintf("network %s is stored in the grid, and not taken over here: %v", name, trust.ErrNotAccepted))
		}
		if here {
			// What this node had for itself becomes the grid's, with its /64.
			if err := d.grid.adopted.set(name, true); err != nil {
				return err
			}
		}
		err := client.PutDocument(ctx, gridstore.Document{Document: signed[i], File: document.file, Nodes: document.network.Carriers()})
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(response.Networks, func(n *api.AppliedNetwork) bool { return n.Network == name }) {
			response.Networks = append(response.Networks, &api.AppliedNetwork{Network: name, Action: actionOf(signed[i].Revision)})
		}
		if here {
			if err := d.awaitLocal(ctx, name, func(r registry.NetworkRecord, stored bool) bool {
				return stored && string(r.Document) == string(document.text)
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

// carriedHere gives the documents that name this node or that it has: of the others
// it stores nothing.
func carriedHere(local registry.Snapshot, node string, documents []document) (here []document) {
	for _, document := range documents {
		if _, stored := local.Network(document.network.Name); stored || document.network.CarriedBy(node) {
			here = append(here, document)
		}
	}
	return here
}

// needsPrefix tells whether one of the documents wants a /64 here that it has not.
func needsPrefix(local registry.Snapshot, node string, documents []document) bool {
	return slices.ContainsFunc(documents, func(document document) bool {
		_, has := local.IPAM.Prefix(document.network.Name, node)
		return !has && document.network.CarriedBy(node)
	})
}

// actionOf says what a revision does to a network of which this node has nothing.
func actionOf(revision uint64) string {
	if revision == 1 {
		return "created"
	}
	return "changed"
}

// awaitLocal waits until what the grid says has come about here.
func (d *Daemon) awaitLocal(ctx context.Context, network string, is func(registry.NetworkRecord, bool) bool) error {
	changed := d.store.Watch(ctx, 0)
	for {
		snap, err := d.store.Snapshot(ctx)
		if err != nil {
			return err
		}
		record, stored := snap.Network(network)
		if is(record, stored) {
			return nil
		}
		select {
		case <-changed:
		case <-time.After(time.Second):
		case <-ctx.Done():
			return fmt.Errorf("network %s is stored in the grid, but this node has not taken it over yet: %w", network, ctx.Err())
		}
	}
}

// releaseInGrid ends a network by its owner's word, and returns when it is gone here.
func (d *Daemon) releaseInGrid(ctx context.Context, r *api.DeleteRequest, response *api.DeleteResponse) error {
	client, err := d.openedRegistry(ctx)
	if err != nil {
		return err
	}
	document, err := signedDocument(r.Network, "", r.Signature)
	if err != nil {
		return err
	}
	document.Released = true
	var attached []string
	if network := client.Snapshot().Networks[r.Network]; network != nil {
		for node, list := range network.Attachments {
			for _, a := range list {
				attached = append(attached, node+"/"+a.Workload)
			}
		}
	}
	if slices.Sort(attached); len(attached) > 0 && !r.Force {
		return refused(fmt.Sprintf("delete network %s: still attached to it: %v; detach them first, or use --force", r.Network, attached))
	}
	response.Detached = attached
	if err := client.PutDocument(ctx, gridstore.Document{Document: document}); err != nil {
		return err
	}
	accept, err := trust.ParseAccept(d.file.node().Accept)
	if err != nil {
		return err
	}
	if !accept.Allows(document.Owner) {
		return refused(fmt.Sprintf("network %s is released in the grid; here it stays until its last workload is detached: %v", r.Network, trust.ErrNotAccepted))
	}
	return d.awaitLocal(ctx, r.Network, func(_ registry.NetworkRecord, stored bool) bool { return !stored })
}

// claimName takes a new workload's name for this node in the whole grid, or takes
// the workload back.
func (d *Daemon) claimName(ctx context.Context, a registry.Attachment) error {
	if !d.inGrid() || !d.grid.adopted.has(a.Network) {
		return nil
	}
	client, err := d.openedRegistry(ctx)
	if err == nil {
		var snap registry.Snapshot
		if snap, err = d.store.Snapshot(ctx); err == nil {
			record, _ := snap.Network(a.Network)
			err = client.PutAttachment(ctx, a.Network, attachmentFor(a, record.Prefix))
		}
	}
	if err != nil {
		return errors.Join(err, d.store.DeleteAttachment(ctx, a.Network, a.Name))
	}
	return nil
}
