package daemon

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/spec"
	"github.com/zosnet/zosnet/pkg/underlay"
)

// VerifyPrefix implements the API.
func (d *Daemon) VerifyPrefix(ctx context.Context, r *api.VerifyPrefixRequest) (*api.VerifyPrefixResponse, error) {
	local, err := d.store.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	asked := netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	if r.Prefix != "" {
		if asked, err = parsePrefix(r.Prefix); err != nil {
			return nil, err
		}
	}
	targets := targetsIn(asked, d.file.node(), local, d.given())
	if len(targets) == 0 {
		return nil, refused(fmt.Sprintf("verify %s: nothing of it is routed to this node for networks", asked))
	}
	source, err := d.nextHop(local, "")
	if err != nil {
		return nil, err
	}
	response := &api.VerifyPrefixResponse{}
	for _, target := range targets {
		result, err := underlay.Verify(ctx, underlay.Route{Prefix: target.within, Source: source, Uplinks: d.uplinkNames()})
		if err != nil {
			return nil, fmt.Errorf("verify %s: %w", target.routed, err)
		}
		response.Checks = append(response.Checks, checkMessage(target.routed, result))
	}
	return response, nil
}

// verifyTarget is where a probe of something that is routed here goes.
type verifyTarget struct{ routed, within netip.Prefix }

// targetsIn gives, for all that is routed to this node and has a part of what is asked,
// a piece that no other node has. Its last /64 must be for networks: the first of a block
// is the node's own, and nothing passes the lockdown to it.
func targetsIn(asked netip.Prefix, node *spec.Node, local registry.Snapshot, given map[netip.Prefix]ipam.Delegation) (list []verifyTarget) {
	blocks := routed(node, local, given)
	space := spacious(node, local, given).Prefixes
	for _, p := range sortedBlocks(blocks) {
		if blocks[p] != node.Name || !p.Overlaps(asked) {
			continue
		}
		target := verifyTarget{routed: p}
		for _, piece := range space {
			if piece = narrower(piece, asked); piece.IsValid() && p.Contains(piece.Addr()) && piece.Bits() >= p.Bits() && hasNetworks(piece, p) {
				target.within = piece
			}
		}
		if target.within.IsValid() {
			list = append(list, target)
		}
	}
	return list
}

// narrower gives what two prefixes have in common, of at most 64 bits.
func narrower(a, b netip.Prefix) netip.Prefix {
	switch {
	case !a.Overlaps(b):
		return netip.Prefix{}
	case a.Bits() >= b.Bits():
		return a
	}
	p, err := b.Addr().Prefix(min(b.Bits(), ipam.NetworkBits))
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// hasNetworks tells whether the last /64 of a piece of a prefix may be a network's.
func hasNetworks(piece, of netip.Prefix) bool {
	blocks, err := ipam.ParseBlocks([]netip.Prefix{of})
	return err == nil && (piece.Bits() < ipam.NetworkBits || blocks.Assignable(piece))
}

func checkMessage(p netip.Prefix, r underlay.Result) *api.PrefixCheck {
	m := &api.PrefixCheck{
		Prefix: p.String(), Routed: r.Finding == underlay.Routed, Finding: string(r.Finding), Text: r.Advice(),
		Target: r.Target.String(), Source: r.Source.String(), Uplink: r.Uplink,
	}
	if r.Gateway.IsValid() {
		m.Gateway = r.Gateway.String()
	}
	for _, hop := range r.Hops {
		text := "*"
		if hop.IsValid() {
			text = hop.String()
		}
		m.Hops = append(m.Hops, text)
	}
	return m
}
