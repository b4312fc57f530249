package delegation

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
)

// Release gives an allocation up: here, and then in the grid, if there is one (client is
// nil without). Whatever ends in between, nothing of it is given any more when others can
// have it. It gives the blocks of it that other nodes had still, with whose they were.
func (s *Space) Release(ctx context.Context, client *gridstore.Client, p netip.Prefix, force bool) (taken map[netip.Prefix]string, err error) {
	s.holding.Lock()
	defer s.holding.Unlock()
	s.change.Lock() // no network gets a /64 of it meanwhile
	defer s.change.Unlock()
	local, err := s.store.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	node := s.node()
	here := slices.ContainsFunc(local.Registrations, func(r ipam.Registration) bool { return r.Prefix == p })
	have := heldInGrid(client, node.Name)
	_, there := have.Registrations[p]
	switch {
	case slices.Contains(node.Prefixes, p):
		return nil, refused("release %s: %s names it; take it out there and reload", p, node.Where["prefixes"])
	case !here && !there:
		return nil, &NotHeldError{p}
	}
	if names := networksIn(local, p); len(names) > 0 && !force {
		return nil, refused("release %s: on this node still used by network %s; delete them first, or take it from them: --force",
			p, strings.Join(names, ", "))
	}
	need := held{node: node.Name, local: local}
	if there {
		if _, err := need.unregister(have, p, force, time.Now()); err != nil {
			return nil, usedStill(err)
		}
	}
	if err := s.forgetPrefix(ctx, local, p, here); err != nil || client == nil {
		return nil, err
	}
	taken, err = s.releaseInGrid(ctx, client, need, p, force)
	switch {
	case errors.As(err, new(*ipam.DelegatedError)): // somebody has just got a block of it
		return nil, errors.Join(usedStill(err), s.rememberPrefix(ctx, local, p))
	case err != nil:
		return nil, fmt.Errorf("release %s: this node gives nothing of it any more, but the grid may not know that yet; do it again: %w", p, err)
	}
	return taken, nil
}

func usedStill(err error) error {
	if errors.As(err, new(*ipam.DelegatedError)) {
		return refused("%w", err)
	}
	return err
}

// forgetPrefix takes an allocation, and this node's own blocks of it, out of its own
// registry.
func (s *Space) forgetPrefix(ctx context.Context, local registry.Snapshot, p netip.Prefix, registered bool) error {
	node := s.node().Name
	kept := slices.DeleteFunc(slices.Clone(local.Blocks), func(b registry.Block) bool {
		return b.Holder == node && p.Contains(b.Block.Addr())
	})
	if registered {
		if err := s.store.DeleteRegistration(ctx, p); err != nil {
			return err
		}
	}
	return s.store.PutBlocks(ctx, kept)
}

// rememberPrefix undoes forgetPrefix.
func (s *Space) rememberPrefix(ctx context.Context, local registry.Snapshot, p netip.Prefix) error {
	for _, r := range local.Registrations {
		if r.Prefix == p {
			if err := s.store.PutRegistration(ctx, r); err != nil {
				return err
			}
		}
	}
	return s.store.PutBlocks(ctx, local.Blocks)
}

// releaseInGrid gives a prefix up in the grid, and gives the blocks of it that other
// nodes had.
func (s *Space) releaseInGrid(ctx context.Context, client *gridstore.Client, n held, p netip.Prefix, force bool) (taken map[netip.Prefix]string, err error) {
	_, err = s.update(ctx, client, func(h ipam.Holding, _ *gridstore.Others) (ipam.Holding, error) {
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
