package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/zosnet/zosnet/pkg/grid"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
	"github.com/zosnet/zosnet/pkg/trust"
)

// tokenMemory is how long a token that has ended is still listed.
const tokenMemory = 24 * time.Hour

// MakeToken makes a token with which one node may join, for a period, and returns when
// that node is let in: its first packet is answered. This node must have the CA's key.
func (p *Plane) MakeToken(ctx context.Context, period time.Duration) (*trust.Token, error) {
	client, ca, err := p.invites(ctx)
	if err != nil {
		return nil, err
	}
	token, err := trust.NewToken(trust.TokenAddress{
		CA: ca.Fingerprint(), ControlKey: p.own.Load().ControlKey, Service: netip.AddrPortFrom(p.State().Address, grid.ServicePort),
		Endpoints: []netip.AddrPort{controlEndpoint(p.node())},
	}, time.Now().Add(period))
	if err != nil {
		return nil, err
	}
	if err := p.forgetTokens(ctx, client); err != nil {
		return nil, err
	}
	if err := p.until(ctx, func() bool { return p.inviting }); err != nil {
		return nil, fmt.Errorf("make a join token: the invitation service does not listen here yet (if the CA's key has just come here, restart the daemon): %w", err)
	}
	if err := client.PutToken(ctx, token.Pending()); err != nil {
		return nil, fmt.Errorf("make a join token: %w", p.orLost(err))
	}
	if err := p.untilPeer(ctx, token.PeerPublicKey(), true); err != nil {
		return nil, errors.Join(fmt.Errorf("make a join token: %w", err), client.RevokeToken(context.WithoutCancel(ctx), token.ID()))
	}
	return token, nil
}

// Tokens gives the join tokens that this node made, by id, until a day after their end.
func (p *Plane) Tokens(ctx context.Context) ([]trust.PendingToken, error) {
	client, _, err := p.invites(ctx)
	if err != nil {
		return nil, err
	}
	return client.Tokens(ctx)
}

// RevokeToken takes an unused token of this node back, and returns when nobody can use it
// any more. One that is used gives a *RefusedError, one that this node has not made a
// *registry.NotFoundError.
func (p *Plane) RevokeToken(ctx context.Context, id string) error {
	client, _, err := p.invites(ctx)
	if err != nil {
		return err
	}
	token, err := client.Token(ctx, id)
	if err != nil {
		return err
	}
	if token == nil {
		return &registry.NotFoundError{Kind: "join token", Name: id}
	}
	if err := client.RevokeToken(ctx, id); err != nil {
		if used, is := errors.AsType[*gridstore.TokenUsedError](err); is {
			return refuse(used.Error())
		}
		return err
	}
	if err := p.untilPeer(ctx, token.Peer, false); err != nil {
		return fmt.Errorf("join token %s is good no more, but: %w", id, err)
	}
	p.log.Info("join token revoked", "token", id)
	return nil
}

// invites gives what this node lets others in by, once its part is up; an error where it
// cannot.
func (p *Plane) invites(ctx context.Context) (*gridstore.Client, *trust.CA, error) {
	if p.State() == nil {
		return nil, nil, ErrNoGrid
	}
	ca, err := p.home.CA()
	if err != nil {
		return nil, nil, err
	}
	if err := p.Wait(ctx); err != nil {
		return nil, nil, err
	}
	return p.Registry(), ca, nil
}

// forgetTokens deletes the tokens that ended long ago.
func (p *Plane) forgetTokens(ctx context.Context, client *gridstore.Client) error {
	tokens, err := client.Tokens(ctx)
	if err != nil {
		return err
	}
	for _, t := range tokens {
		if time.Since(t.Expires) > tokenMemory {
			if err := client.DeleteToken(ctx, t.ID); err != nil {
				return err
			}
		}
	}
	return nil
}
