package daemon

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/delegation"
	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/underlay"
)

// ListRoutes implements the API.
func (d *Daemon) ListRoutes(ctx context.Context, r *api.ListRoutesRequest) (*api.ListRoutesResponse, error) {
	via, err := parseVia(r.Via)
	if err != nil {
		return nil, err
	}
	routes, unrouted, err := d.space.Routes(ctx, via)
	if err != nil {
		return nil, err
	}
	response := &api.ListRoutesResponse{Unrouted: unrouted}
	for _, route := range routes {
		response.Routes = append(response.Routes, &api.Route{
			Prefix: route.Block.String(), Node: route.Node, NextHop: route.NextHop.String(),
		})
	}
	return response, nil
}

// parseVia reads the address that an upstream sends to; nothing is none.
func parseVia(text string) (netip.Addr, error) {
	if text == "" {
		return netip.Addr{}, nil
	}
	hop, err := netip.ParseAddr(text)
	if err != nil || !ipam.IsNextHop(hop) {
		return hop, invalid(fmt.Sprintf("via %s: want a global IPv6 address of this node", text))
	}
	return hop, nil
}

// VerifyPrefix implements the API.
func (d *Daemon) VerifyPrefix(ctx context.Context, r *api.VerifyPrefixRequest) (*api.VerifyPrefixResponse, error) {
	asked := netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	if r.Prefix != "" {
		var err error
		if asked, err = parsePrefix(r.Prefix); err != nil {
			return nil, err
		}
	}
	checks, err := d.space.Verify(ctx, asked)
	if err != nil {
		return nil, err
	}
	response := &api.VerifyPrefixResponse{}
	for _, check := range checks {
		response.Checks = append(response.Checks, checkMessage(check))
	}
	return response, nil
}

func checkMessage(r delegation.Check) *api.PrefixCheck {
	m := &api.PrefixCheck{
		Prefix: r.Prefix.String(), Routed: r.Finding == underlay.Routed, Finding: string(r.Finding), Text: r.Advice(),
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
