package daemon

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/controlplane"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/trust"
)

// ListOwners implements the API.
func (d *Daemon) ListOwners(ctx context.Context, _ *api.ListOwnersRequest) (*api.ListOwnersResponse, error) {
	if !d.inGrid() {
		return nil, controlplane.ErrNoGrid
	}
	client, err := d.openedRegistry(ctx)
	if err != nil {
		return nil, err
	}
	response := &api.ListOwnersResponse{}
	pins := client.Pins()
	for _, network := range slices.Sorted(maps.Keys(pins)) {
		response.Owners = append(response.Owners, d.pinnedOwner(network, pins[network]))
	}
	return response, nil
}

// ForgetOwner implements the API. Nothing but this call makes a node forget.
func (d *Daemon) ForgetOwner(ctx context.Context, r *api.ForgetOwnerRequest) (*api.PinnedOwner, error) {
	if !d.inGrid() {
		return nil, controlplane.ErrNoGrid
	}
	client, err := d.openedRegistry(ctx)
	if err != nil {
		return nil, err
	}
	pin, known := client.Pins()[r.Network]
	if !known {
		return nil, &registry.NotFoundError{Kind: "pinned owner of network", Name: r.Network}
	}
	if err := forgettable(r, pin, d.grid.adopted.has(r.Network)); err != nil {
		return nil, err
	}
	if err := client.ForgetOwner(ctx, r.Network); err != nil {
		return nil, err
	}
	d.log.Info("the owner of a network is forgotten; the next document of it may be of another one", "network", r.Network, "owner", pin.Owner, "revision", pin.Revision)
	return d.pinnedOwner(r.Network, pin.Forget()), nil
}

// forgettable refuses to forget an owner of whom nothing is to be forgotten, or whose
// network somebody else would get while it runs here.
func forgettable(r *api.ForgetOwnerRequest, pin trust.Pin, here bool) error {
	switch {
	case pin.Released:
		return refused(fmt.Sprintf("forget the owner of network %s: its name is free here already; who applies it next owns it", r.Network))
	case here && !r.Force:
		return refused(fmt.Sprintf("forget the owner of network %s: it runs on this node, and who applies it next would decide about its workloads here. "+
			"If that is what you want, name under accept in node.yaml who that may be, and use --force", r.Network))
	}
	return nil
}

func (d *Daemon) pinnedOwner(network string, pin trust.Pin) *api.PinnedOwner {
	return &api.PinnedOwner{
		Network: network, Owner: pin.Owner.String(), Revision: pin.Revision, Free: pin.Released,
		Here: d.grid.adopted.has(network), Accept: d.file.node().Accept,
	}
}
