package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/grid"
	"github.com/zosnet/zosnet/pkg/grid/control"
	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/spec"
	"github.com/zosnet/zosnet/pkg/trust"
	"github.com/zosnet/zosnet/pkg/wireguard"
)

const (
	// longestToken bounds how long a join token may be good for.
	longestToken = 7 * 24 * time.Hour
	// guestPatience is how long one way to the node that invites is tried.
	guestPatience = 20 * time.Second
	// enterPatience is how long whoever asked waits for a part in the grid to come up.
	enterPatience = 90 * time.Second
)

var errNoGrid = precondition("this node is in no grid: make one with zosnet grid init, or join one with zosnet grid join")

func precondition(message string) error {
	return &api.Error{Code: codes.FailedPrecondition, Message: message}
}

// InitGrid implements the API.
func (d *Daemon) InitGrid(ctx context.Context, _ *api.InitGridRequest) (*api.GridNode, error) {
	d.change.Lock()
	defer d.change.Unlock()
	node := d.file.node()
	endpoint := controlEndpoint(node)
	switch {
	case d.control.current() != nil:
		return nil, precondition("this node is in a grid already")
	case !endpoint.IsValid():
		return nil, precondition("node.yaml names no endpoint: others could not reach the first node of a grid; say under which address they do")
	}
	key, err := d.control.keys.Make(controlKeyName)
	if err != nil {
		return nil, err
	}
	state, err := d.control.home.Found(node.Name, trust.ControlKey(key.Public()), endpoint, foreign(node), time.Now())
	if err != nil {
		return nil, err
	}
	return d.enterGrid(ctx, state)
}

// enterGrid brings up this node's part in the grid.
func (d *Daemon) enterGrid(ctx context.Context, state *grid.State) (*api.GridNode, error) {
	d.control.became(state)
	// The lockdown lets the control interface's packets in.
	if err := d.enforcer.wait(ctx, d.enforcer.request()); err != nil {
		d.log.Warn("enter the grid", "error", err)
	}
	ctx, cancel := context.WithTimeout(ctx, enterPatience)
	defer cancel()
	if err := d.control.wait(ctx); err != nil {
		return nil, err
	}
	d.log.Info("in the grid", "control", state.Control, "address", state.Address)
	return d.gridNode(state), nil
}

func (d *Daemon) gridNode(s *grid.State) *api.GridNode {
	m := &api.GridNode{Node: s.Node, Control: s.Control.String(), Address: s.Address.String(), Interface: control.Name(s.Node)}
	for _, member := range s.Members {
		m.Members = append(m.Members, member.Name)
	}
	return m
}

// ShowGrid implements the API.
func (d *Daemon) ShowGrid(context.Context, *api.ShowGridRequest) (*api.GridNode, error) {
	s := d.control.current()
	if s == nil {
		return nil, errNoGrid
	}
	return d.gridNode(s), nil
}

// MakeToken implements the API.
func (d *Daemon) MakeToken(ctx context.Context, r *api.MakeTokenRequest) (*api.JoinToken, error) {
	period := time.Duration(r.Seconds) * time.Second
	if period <= 0 || period > longestToken {
		return nil, invalid(fmt.Sprintf("a join token is good for up to %v", longestToken))
	}
	s := d.control.current()
	if s == nil {
		return nil, errNoGrid
	}
	token, err := d.control.makeToken(ctx, s, controlEndpoint(d.file.node()), period)
	if err != nil {
		return nil, err
	}
	return &api.JoinToken{Id: token.ID(), Token: token.Reveal(), Expires: timeText(token.Expires)}, nil
}

func (p *controlPlane) makeToken(ctx context.Context, s *grid.State, endpoint netip.AddrPort, period time.Duration) (*trust.Token, error) {
	ca, err := p.home.CA()
	if err != nil {
		return nil, err
	}
	if err := p.wait(ctx); err != nil {
		return nil, err
	}
	token, err := trust.NewToken(trust.TokenAddress{
		CA: ca.Fingerprint(), ControlKey: p.own.Load().ControlKey, Service: netip.AddrPortFrom(s.Address, grid.ServicePort),
		Endpoints: []netip.AddrPort{endpoint},
	}, time.Now().Add(period))
	if err != nil {
		return nil, err
	}
	if err := p.registry().PutToken(ctx, token.Pending()); err != nil {
		return nil, err
	}
	return token, nil // its peer comes with the registry's change
}

// JoinGrid implements the API.
func (d *Daemon) JoinGrid(ctx context.Context, r *api.JoinGridRequest) (*api.GridNode, error) {
	d.change.Lock()
	defer d.change.Unlock()
	if d.control.current() != nil {
		return nil, precondition("this node is in a grid already")
	}
	token, err := trust.ParseToken(r.Token)
	if err != nil {
		return nil, invalid(err.Error())
	}
	state, err := d.control.join(ctx, token, d.file.node().Name)
	if err != nil {
		return nil, err
	}
	return d.enterGrid(ctx, state)
}

// join has this node let in, over each way that the token knows.
func (p *controlPlane) join(ctx context.Context, token *trust.Token, name string) (*grid.State, error) {
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

func (p *controlPlane) joinBy(ctx context.Context, guest grid.Guest, token *trust.Token, c grid.Candidate) (*grid.Membership, error) {
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

// openControl lets WireGuard's packets for the control interface in: it answers
// nobody who has no key of it.
func openControl(in plan.Input) plan.Input {
	port := []spec.Ports{{Proto: spec.ProtoUDP, First: grid.ControlPort, Last: grid.ControlPort}}
	opening := []spec.LockdownAllow{
		{From: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Ports: port},
		{From: netip.PrefixFrom(netip.IPv6Unspecified(), 0), Ports: port},
	}
	node := *in.Node
	node.Lockdown.Allow = append(opening, node.Lockdown.Allow...)
	in.Node = &node
	if in.Trial != nil {
		trial := *in.Trial
		trial.Allow = append(opening[:2:2], trial.Allow...)
		in.Trial = &trial
	}
	return in
}
