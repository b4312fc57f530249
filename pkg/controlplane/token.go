package controlplane

import (
	"context"
	"net/netip"
	"time"

	"github.com/zosnet/zosnet/pkg/grid"
	"github.com/zosnet/zosnet/pkg/trust"
)

// MakeToken makes a token with which one node may join, for a period. This node must
// have the CA's key.
func (p *Plane) MakeToken(ctx context.Context, period time.Duration) (*trust.Token, error) {
	s := p.State()
	if s == nil {
		return nil, ErrNoGrid
	}
	ca, err := p.home.CA()
	if err != nil {
		return nil, err
	}
	if err := p.Wait(ctx); err != nil {
		return nil, err
	}
	token, err := trust.NewToken(trust.TokenAddress{
		CA: ca.Fingerprint(), ControlKey: p.own.Load().ControlKey, Service: netip.AddrPortFrom(s.Address, grid.ServicePort),
		Endpoints: []netip.AddrPort{controlEndpoint(p.node())},
	}, time.Now().Add(period))
	if err != nil {
		return nil, err
	}
	if err := p.Registry().PutToken(ctx, token.Pending()); err != nil {
		return nil, err
	}
	return token, nil // its peer comes with the registry's change
}
