package daemon

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/registry"
)

// ListPrefixes implements the API.
func (d *Daemon) ListPrefixes(ctx context.Context, _ *api.ListPrefixesRequest) (*api.ListPrefixesResponse, error) {
	local, holdings, err := d.space.Holdings(ctx)
	if err != nil {
		return nil, err
	}
	response := &api.ListPrefixesResponse{}
	for _, holder := range slices.Sorted(maps.Keys(holdings)) {
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
	local, holdings, err := d.space.Holdings(ctx)
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
	if err := d.space.Register(ctx, client, ipam.Registration{Prefix: p, Source: r.Source, Contact: r.Contact, Registered: time.Now().UTC()}); err != nil {
		return nil, err
	}
	if err := d.enforcer.wait(ctx, d.enforcer.request()); err != nil {
		d.log.Warn("register a prefix", "prefix", p, "error", err)
	}
	return d.ShowPrefix(ctx, &api.ShowPrefixRequest{Prefix: r.Prefix})
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
	taken, err := d.space.Release(ctx, client, p, r.Force)
	if err != nil {
		return nil, err
	}
	if err := d.enforcer.wait(ctx, d.enforcer.request()); err != nil {
		d.log.Warn("release a prefix", "prefix", p, "error", err)
	}
	response := &api.ReleasePrefixResponse{}
	for _, block := range slices.SortedFunc(maps.Keys(taken), netip.Prefix.Compare) {
		response.Taken = append(response.Taken, &api.Block{Block: block.String(), Node: taken[block]})
	}
	local, err := d.store.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	response.Warnings = d.space.Stranded(local)
	return response, nil
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
	markGivenBack(m.Blocks, local.Blocks)
	slices.SortFunc(m.Blocks, func(a, b *api.Block) int {
		return netip.MustParsePrefix(a.Block).Compare(netip.MustParsePrefix(b.Block)) // they were made from prefixes above
	})
	return m, nil
}

// markGivenBack marks the blocks that are on their way back from this node to the holder.
func markGivenBack(blocks []*api.Block, own []registry.Block) {
	for _, b := range blocks {
		b.GivenBack = !b.Elsewhere && b.RestsUntil == "" && slices.ContainsFunc(own, func(o registry.Block) bool {
			return o.GivenBack && o.Block.String() == b.Block
		})
	}
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
