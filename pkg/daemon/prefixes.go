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

// ListPrefixes implements the API.
func (d *Daemon) ListPrefixes(ctx context.Context, _ *api.ListPrefixesRequest) (*api.ListPrefixesResponse, error) {
	local, holdings, err := d.allHoldings(ctx)
	if err != nil {
		return nil, err
	}
	response := &api.ListPrefixesResponse{}
	for _, holder := range sortedKeys(holdings) {
		for _, p := range holdings[holder].Prefixes() {
			m, err := d.prefixMessage(local, holdings[holder], p)
			if err != nil {
				return nil, err
			}
			response.Prefixes = append(response.Prefixes, m)
		}
	}
	return response, nil
}

// ShowPrefix implements the API.
func (d *Daemon) ShowPrefix(ctx context.Context, r *api.ShowPrefixRequest) (*api.Prefix, error) {
	asked, err := parsePrefix(r.Prefix)
	if err != nil {
		return nil, err
	}
	local, holdings, err := d.allHoldings(ctx)
	if err != nil {
		return nil, err
	}
	for _, h := range holdings {
		for _, p := range h.Prefixes() {
			if p.Contains(asked.Addr()) && p.Bits() <= asked.Bits() {
				m, err := d.prefixMessage(local, h, p)
				if err == nil {
					m.Blocks = within(m.Blocks, asked)
				}
				return m, err
			}
		}
	}
	return nil, &api.Error{Code: codes.NotFound, Message: fmt.Sprintf("no node holds a prefix with %s in it, as far as this one knows", r.Prefix)}
}

// allHoldings gives what nodes hold, by node: those of the whole grid while its
// registry can be reached, else those that are known here.
func (d *Daemon) allHoldings(ctx context.Context) (registry.Snapshot, map[string]ipam.Holding, error) {
	local, err := d.store.Snapshot(ctx)
	if err != nil {
		return local, nil, err
	}
	node := d.file.node()
	own := ipam.Holding{Holder: node.Name, Registrations: map[netip.Prefix]ipam.Registration{}, Blocks: d.given()}
	for _, r := range registrations(node, local) {
		if r.Source == fromDocument {
			r.Source = node.Where["prefixes"].String()
		}
		own.Registrations[r.Prefix] = r
	}
	holdings := map[string]ipam.Holding{}
	if client := d.control.Registry(); d.inGrid() && client != nil {
		snap := client.Snapshot()
		if snap.Source == gridstore.SourceCluster {
			holdings, err = client.Holdings(ctx)
		}
		if snap.Source != gridstore.SourceCluster || err != nil {
			holdings = knownHoldings(snap)
		}
		if h := holdings[node.Name]; len(h.Blocks) > 0 {
			own.Blocks = h.Blocks
		}
	}
	holdings[node.Name] = own
	return local, holdings, nil
}

func knownHoldings(snap gridstore.Snapshot) map[string]ipam.Holding {
	known := map[string]ipam.Holding{}
	for name, n := range snap.Nodes {
		if len(n.Holding.Registrations) > 0 {
			known[name] = n.Holding
		}
	}
	return known
}

// parsePrefix reads a prefix, or an address as the prefix of itself.
func parsePrefix(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, invalid(fmt.Sprintf("%q is neither a prefix nor an address", text))
	}
	return p, nil
}

// within keeps what a prefix has in common with blocks and their /64s.
func within(blocks []*api.Block, asked netip.Prefix) (kept []*api.Block) {
	overlaps := func(text string) bool {
		p, err := netip.ParsePrefix(text)
		return err == nil && p.Overlaps(asked)
	}
	for _, b := range blocks {
		if overlaps(b.Block) {
			b.Leases = slices.DeleteFunc(b.Leases, func(l *api.BlockLease) bool { return !overlaps(l.Prefix) })
			kept = append(kept, b)
		}
	}
	return kept
}

// prefixMessage puts a prefix of a holder into the API's words. Of blocks of other
// nodes it is not known how much of them is used.
func (d *Daemon) prefixMessage(local registry.Snapshot, h ipam.Holding, p netip.Prefix) (*api.Prefix, error) {
	space, err := ipam.ParseBlocks([]netip.Prefix{p})
	if err != nil {
		return nil, err
	}
	r, node, now := h.Registrations[p], d.file.node().Name, time.Now()
	m := &api.Prefix{
		Prefix: p.String(), Holder: h.Holder, Source: r.Source, Contact: r.Contact, Registered: timeText(r.Registered),
		Capacity: space.Capacity(),
	}
	counted := map[netip.Prefix]bool{}
	for _, use := range local.IPAM.InUse(space, now) {
		b := blockMessage(use, node)
		m.Networks += b.Networks
		m.Resting += b.Resting
		m.Blocks = append(m.Blocks, b)
		counted[use.Block] = true
	}
	for block, delegation := range h.Blocks {
		if !p.Contains(block.Addr()) || counted[block] || !delegation.Owned() && !now.Before(delegation.Until) {
			continue
		}
		size, err := ipam.ParseBlocks([]netip.Prefix{block})
		if err != nil {
			return nil, err
		}
		m.Blocks = append(m.Blocks, &api.Block{
			Block: block.String(), Node: delegation.Node, Capacity: size.Capacity(),
			Elsewhere: delegation.Node != node, RestsUntil: timeText(delegation.Until),
		})
	}
	slices.SortFunc(m.Blocks, func(a, b *api.Block) int {
		return netip.MustParsePrefix(a.Block).Compare(netip.MustParsePrefix(b.Block)) // they were made from prefixes above
	})
	return m, nil
}

func blockMessage(use ipam.Use, node string) *api.Block {
	b := &api.Block{
		Block: use.Block.String(), Node: node, Capacity: use.Capacity,
		Networks: uint64(use.Owned()), Resting: uint64(use.Resting()),
	}
	prefixes := make([]netip.Prefix, 0, len(use.Leases))
	for p := range use.Leases {
		prefixes = append(prefixes, p)
	}
	slices.SortFunc(prefixes, netip.Prefix.Compare)
	for _, p := range prefixes {
		l := use.Leases[p]
		b.Leases = append(b.Leases, &api.BlockLease{Prefix: p.String(), Network: l.Network, RestsUntil: timeText(l.Until)})
	}
	return b
}

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
	if taken, err = need.release(ctx, client, p, force); errors.As(err, new(*ipam.DelegatedError)) {
		return nil, errors.Join(usedStill(err), d.rememberPrefix(ctx, local, p)) // somebody has just got a block of it
	}
	return taken, err
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
