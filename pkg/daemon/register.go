package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
)

// RegisterPrefix implements the API.
func (d *Daemon) RegisterPrefix(ctx context.Context, r *api.RegisterPrefixRequest) (*api.Prefix, error) {
	p, err := parsePrefix(r.Prefix)
	if err != nil {
		return nil, err
	}
	client, err := d.grids(ctx)
	if err != nil {
		return nil, err
	}
	if err := d.register(ctx, client, ipam.Registration{Prefix: p, Source: r.Source, Contact: r.Contact, Registered: time.Now().UTC()}); err != nil {
		return nil, err
	}
	if err := d.enforcer.wait(ctx, d.enforcer.request()); err != nil {
		d.log.Warn("register a prefix", "prefix", p, "error", err)
	}
	return d.ShowPrefix(ctx, &api.ShowPrefixRequest{Prefix: r.Prefix})
}

// register notes an allocation in the grid, if there is one, and then here: what is
// noted here is registered in the grid again and again.
func (d *Daemon) register(ctx context.Context, client *gridstore.Client, r ipam.Registration) error {
	d.holding.Lock()
	defer d.holding.Unlock()
	local, err := d.store.Snapshot(ctx)
	if err != nil {
		return err
	}
	node := d.file.node()
	if slices.Contains(node.Prefixes, r.Prefix) {
		return refused(fmt.Sprintf("register %s: %s names it already", r.Prefix, node.Where["prefixes"]))
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
		return refused(err.Error())
	}
	if client != nil {
		if err := registerInGrid(ctx, client, r); err != nil {
			return err
		}
	}
	return d.store.PutRegistration(ctx, r)
}

func registerInGrid(ctx context.Context, client *gridstore.Client, r ipam.Registration) error {
	_, err := client.UpdateHolding(ctx, func(h ipam.Holding, from *gridstore.Others) (ipam.Holding, error) {
		others, err := from.Holdings()
		if err != nil {
			return h, err
		}
		return h.Register(r, others, time.Now())
	})
	var overlap *ipam.OverlapError
	if errors.As(err, &overlap) {
		return refused(err.Error())
	}
	return err
}
