package delegation

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/spec"
	"github.com/zosnet/zosnet/pkg/underlay"
)

// Check is what became of the probe of a prefix that is to be routed to this node.
type Check struct {
	Prefix netip.Prefix
	underlay.Result
}

// Verify looks whether all that is routed to this node, and has a part of what is asked,
// comes here.
func (s *Space) Verify(ctx context.Context, asked netip.Prefix) ([]Check, error) {
	local, err := s.store.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	targets := targetsIn(asked, s.node(), local, s.given())
	if len(targets) == 0 {
		return nil, refused("verify %s: nothing of it is routed to this node for networks", asked)
	}
	source, err := s.NextHop(local)
	if err != nil {
		return nil, err
	}
	var checks []Check
	for _, target := range targets {
		result, err := underlay.Verify(ctx, underlay.Route{Prefix: target.within, Source: source, Uplinks: s.uplinks()})
		if err != nil {
			return nil, fmt.Errorf("verify %s: %w", target.routed, err)
		}
		checks = append(checks, Check{target.routed, result})
	}
	return checks, nil
}

// verifyTarget is where a probe of something that is routed here goes.
type verifyTarget struct{ routed, within netip.Prefix }

// targetsIn gives, for all that is routed to this node and has a part of what is asked,
// a piece that no other node has. Its last /64 must be for networks: the first of a block
// is the node's own, and nothing passes the lockdown to it.
func targetsIn(asked netip.Prefix, node *spec.Node, local registry.Snapshot, given map[netip.Prefix]ipam.Delegation) (list []verifyTarget) {
	blocks := routed(node, local, given)
	space := whole(node, local, given).Prefixes
	for _, p := range sortedPrefixes(blocks) {
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
