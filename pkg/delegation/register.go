package delegation

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
)

// Register notes an allocation in the grid, and then here: what is noted here is
// registered in the grid again and again. Client is the grid's registry, nil where the
// node is in none.
func (s *Space) Register(ctx context.Context, client *gridstore.Client, r ipam.Registration) error {
	s.holding.Lock()
	defer s.holding.Unlock()
	local, err := s.store.Snapshot(ctx)
	if err != nil {
		return err
	}
	node := s.node()
	if slices.Contains(node.Prefixes, r.Prefix) {
		return refused("register %s: %s names it already", r.Prefix, node.Where["prefixes"])
	}
	r.Holder = node.Name
	here := ipam.Holding{Holder: node.Name, Registrations: map[netip.Prefix]ipam.Registration{}}
	for _, have := range registrations(node, local) {
		here.Registrations[have.Prefix] = have
		if have.Prefix == r.Prefix {
			r.Registered = have.Registered
		}
	}
	if _, err := here.Register(r, nil, time.Now()); err != nil {
		return refused("%w", err)
	}
	if client != nil {
		if err := s.registerInGrid(ctx, client, r); err != nil {
			return err
		}
	}
	return s.store.PutRegistration(ctx, r)
}

func (s *Space) registerInGrid(ctx context.Context, client *gridstore.Client, r ipam.Registration) error {
	_, err := s.update(ctx, client, func(h ipam.Holding, from *gridstore.Others) (ipam.Holding, error) {
		others, err := from.Holdings()
		if err != nil {
			return h, err
		}
		return h.Register(r, others, time.Now())
	})
	var overlap *ipam.OverlapError
	if errors.As(err, &overlap) {
		return refused("%w", err)
	}
	return err
}
