package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
)

// ReleasePrefix implements the API.
func (d *Daemon) ReleasePrefix(ctx context.Context, r *api.ReleasePrefixRequest) (*api.ReleasePrefixResponse, error) {
	p, err := parsePrefix(r.Prefix)
	if err != nil {
		return nil, err
	}
	client, err := d.grids(ctx)
	if err != nil {
		return nil, err
	}
	taken, err := d.releasePrefix(ctx, client, p, r.Force)
	if err != nil {
		return nil, err
	}
	if err := d.enforcer.wait(ctx, d.enforcer.request()); err != nil {
		d.log.Warn("release a prefix", "prefix", p, "error", err)
	}
	response := &api.ReleasePrefixResponse{}
	for _, block := range sortedBlocks(taken) {
		response.Taken = append(response.Taken, &api.Block{Block: block.String(), Node: taken[block]})
	}
	local, err := d.store.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	response.Warnings = d.stranded(local)
	return response, nil
}

// grids gives the registry of the grid that this node is in, nil if it is in none.
func (d *Daemon) grids(ctx context.Context) (*gridstore.Client, error) {
	if !d.inGrid() {
		return nil, nil
	}
	return d.openedRegistry(ctx)
}

func sortedBlocks(m map[netip.Prefix]string) []netip.Prefix {
	var list []netip.Prefix
	for p := range m {
		list = append(list, p)
	}
	slices.SortFunc(list, netip.Prefix.Compare)
	return list
}

// releasePrefix gives an allocation up: here, and then in the grid, if there is one
// (client is nil without). Whatever ends in between, nothing of it is given any more
// when others can have it. It gives the blocks of it that other nodes had still.
func (d *Daemon) releasePrefix(ctx context.Context, client *gridstore.Client, p netip.Prefix, force bool) (taken map[netip.Prefix]string, err error) {
	d.holding.Lock()
	defer d.holding.Unlock()
	d.change.Lock() // no network gets a /64 of it meanwhile
	defer d.change.Unlock()
	local, err := d.store.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	node := d.file.node()
	here := slices.ContainsFunc(local.Registrations, func(r ipam.Registration) bool { return r.Prefix == p })
	have := heldInGrid(client, node.Name)
	_, there := have.Registrations[p]
	switch {
	case slices.Contains(node.Prefixes, p):
		return nil, refused(fmt.Sprintf("release %s: %s names it; take it out there and reload", p, node.Where["prefixes"]))
	case !here && !there:
		return nil, &api.Error{Code: codes.NotFound, Message: fmt.Sprintf("release %s: this node holds no such prefix", p)}
	}
	if names := networksIn(local, p); len(names) > 0 && !force {
		return nil, refused(fmt.Sprintf("release %s: on this node still used by network %s; delete them first, or take it from them: --force",
			p, strings.Join(names, ", ")))
	}
	need := held{node: node.Name, local: local}
	if there {
		if _, err := need.unregister(have, p, force, time.Now()); err != nil {
			return nil, usedStill(err)
		}
	}
	if err := d.forgetPrefix(ctx, local, p, here); err != nil || client == nil {
		return nil, err
	}
	taken, err = need.release(ctx, client, p, force)
	switch {
	case errors.As(err, new(*ipam.DelegatedError)): // somebody has just got a block of it
		return nil, errors.Join(usedStill(err), d.rememberPrefix(ctx, local, p))
	case err != nil:
		return nil, fmt.Errorf("release %s: this node gives nothing of it any more, but the grid may not know that yet; do it again: %w", p, err)
	}
	return taken, nil
}

// heldInGrid gives what this node holds as the grid has it.
func heldInGrid(client *gridstore.Client, node string) ipam.Holding {
	if client != nil {
		if self := client.Snapshot().Nodes[node]; self != nil {
			return self.Holding
		}
	}
	return ipam.Holding{}
}

func usedStill(err error) error {
	if errors.As(err, new(*ipam.DelegatedError)) {
		return refused(err.Error())
	}
	return err
}

// forgetPrefix takes an allocation, and this node's own blocks of it, out of its own
// registry.
func (d *Daemon) forgetPrefix(ctx context.Context, local registry.Snapshot, p netip.Prefix, registered bool) error {
	node := d.file.node().Name
	kept := slices.DeleteFunc(slices.Clone(local.Blocks), func(b registry.Block) bool {
		return b.Holder == node && p.Contains(b.Block.Addr())
	})
	if registered {
		if err := d.store.DeleteRegistration(ctx, p); err != nil {
			return err
		}
	}
	return d.store.PutBlocks(ctx, kept)
}

// rememberPrefix undoes forgetPrefix.
func (d *Daemon) rememberPrefix(ctx context.Context, local registry.Snapshot, p netip.Prefix) error {
	for _, r := range local.Registrations {
		if r.Prefix == p {
			if err := d.store.PutRegistration(ctx, r); err != nil {
				return err
			}
		}
	}
	return d.store.PutBlocks(ctx, local.Blocks)
}

// release gives a prefix up in the grid, and gives the blocks of it that other nodes
// had.
func (n held) release(ctx context.Context, client *gridstore.Client, p netip.Prefix, force bool) (taken map[netip.Prefix]string, err error) {
	_, err = client.UpdateHolding(ctx, func(h ipam.Holding, _ *gridstore.Others) (ipam.Holding, error) {
		taken = map[netip.Prefix]string{}
		if _, registered := h.Registrations[p]; !registered {
			return h, nil
		}
		for block, delegation := range h.Blocks {
			if delegation.Owned() && delegation.Node != n.node && p.Contains(block.Addr()) {
				taken[block] = delegation.Node
			}
		}
		return n.unregister(h, p, force, time.Now())
	})
	return taken, err
}
