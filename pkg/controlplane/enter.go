package controlplane

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/zosnet/zosnet/pkg/grid"
	"github.com/zosnet/zosnet/pkg/grid/control"
	"github.com/zosnet/zosnet/pkg/trust"
	"github.com/zosnet/zosnet/pkg/wireguard"
)

// guestPatience is how long one way to the node that invites is tried.
const guestPatience = 20 * time.Second

// Found makes a grid whose first node this one is, and gives its place in it. Its part
// comes up then: Wait returns when it is.
func (p *Plane) Found() (*grid.State, error) {
	p.entering.Lock()
	defer p.entering.Unlock()
	node := p.node()
	endpoint := controlEndpoint(node)
	switch {
	case p.State() != nil:
		return nil, errInGrid
	case !endpoint.IsValid():
		return nil, refuse("node.yaml names no endpoint: others could not reach the first node of a grid; say under which address they do")
	}
	key, err := p.keys.Make(controlKeyName)
	if err != nil {
		return nil, err
	}
	state, err := p.home.Found(node.Name, trust.ControlKey(key.Public()), endpoint, foreign(node), time.Now())
	if err != nil {
		return nil, err
	}
	p.became(state)
	return state, nil
}

// Join has this node let in, over each way that the token knows, and gives its place in
// the grid. Its part comes up then: Wait returns when it is.
func (p *Plane) Join(ctx context.Context, token *trust.Token) (*grid.State, error) {
	p.entering.Lock()
	defer p.entering.Unlock()
	if p.State() != nil {
		return nil, errInGrid
	}
	state, err := p.join(ctx, token, p.node().Name)
	if err == nil {
		p.became(state)
	}
	return state, err
}

func (p *Plane) join(ctx context.Context, token *trust.Token, name string) (*grid.State, error) {
	key, err := p.keys.Make(controlKeyName)
	if err != nil {
		return nil, err
	}
	nodeKey, err := p.home.Draft()
	if err != nil {
		return nil, err
	}
	candidate := grid.Candidate{Node: name, Key: nodeKey, ControlKey: trust.ControlKey(key.Public())}
	var failed []error
	for _, guest := range grid.Guests(token) {
		m, err := p.joinBy(ctx, guest, token, candidate)
		if err == nil {
			if err := p.home.Joined(name, m); err != nil {
				return nil, err
			}
			return p.home.State()
		}
		if errors.Is(err, context.DeadlineExceeded) { // WireGuard says nothing to who has no key
			err = fmt.Errorf("nobody answers; does the node that made the token run, can its UDP port be reached, and was the token, which ends at %s, not revoked? %w",
				token.Expires.Format(time.RFC3339), err)
		}
		failed = append(failed, fmt.Errorf("by %v: %w", guest.Peer.Endpoint, err))
		if final(err) {
			break
		}
	}
	return nil, errors.Join(append(failed, control.Remove(p.devices, name))...)
}

// final says whether another way in would be refused as well.
func final(err error) bool {
	for _, reason := range []error{trust.ErrToken, grid.ErrNameTaken, grid.ErrKeyTaken, trust.ErrMalformed, trust.ErrNotYetValid, trust.ErrExpired} {
		if errors.Is(err, reason) {
			return true
		}
	}
	return false
}

func (p *Plane) joinBy(ctx context.Context, guest grid.Guest, token *trust.Token, c grid.Candidate) (*grid.Membership, error) {
	_, err := control.Put(p.devices, control.Interface{
		Node: c.Node, PrivateKey: wireguard.PrivateKeyOf(guest.PrivateKey()), ListenPort: grid.ControlPort,
		Address: guest.Address, Reach: guest.Peer.AllowedIPs[0], Peers: []grid.Peer{guest.Peer},
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, guestPatience)
	defer cancel()
	return grid.Join(ctx, token, c, time.Now())
}
