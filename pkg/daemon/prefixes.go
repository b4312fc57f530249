package daemon

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/ipam"
)

// ListPrefixes implements the API.
func (d *Daemon) ListPrefixes(ctx context.Context, _ *api.ListPrefixesRequest) (*api.ListPrefixesResponse, error) {
	response := &api.ListPrefixesResponse{}
	for _, p := range d.file.node().Prefixes {
		m, err := d.prefix(ctx, p)
		if err != nil {
			return nil, err
		}
		response.Prefixes = append(response.Prefixes, m)
	}
	return response, nil
}

// ShowPrefix implements the API.
func (d *Daemon) ShowPrefix(ctx context.Context, r *api.ShowPrefixRequest) (*api.Prefix, error) {
	asked, err := parsePrefix(r.Prefix)
	if err != nil {
		return nil, err
	}
	for _, p := range d.file.node().Prefixes {
		if p.Contains(asked.Addr()) && p.Bits() <= asked.Bits() {
			m, err := d.prefix(ctx, p)
			if err == nil {
				m.Blocks = within(m.Blocks, asked)
			}
			return m, err
		}
	}
	return nil, &api.Error{Code: codes.NotFound, Message: fmt.Sprintf("this node holds no prefix with %s in it", r.Prefix)}
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

// prefix puts one of the node's prefixes into the API's words.
func (d *Daemon) prefix(ctx context.Context, p netip.Prefix) (*api.Prefix, error) {
	snap, err := d.store.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	blocks, err := ipam.ParseBlocks([]netip.Prefix{p})
	if err != nil {
		return nil, err
	}
	node := d.file.node()
	m := &api.Prefix{Prefix: p.String(), Holder: node.Name, Source: node.Where["prefixes"].String(), Capacity: blocks.Capacity()}
	for _, use := range snap.IPAM.InUse(blocks, time.Now()) {
		b := blockMessage(use, node.Name)
		m.Networks += b.Networks
		m.Resting += b.Resting
		m.Blocks = append(m.Blocks, b)
	}
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
