package controlplane

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"net/netip"
	"slices"
	"time"

	"github.com/zosnet/zosnet/pkg/grid"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
	"github.com/zosnet/zosnet/pkg/trust"
)

// joinedPatience is how long a node that was let in waits to be a peer before it is told
// that it is in.
const joinedPatience = 5 * time.Second

// invite lets nodes in and renews their certificates until ctx ends, where this
// node has the CA's key.
func (p *Plane) invite(ctx context.Context, root gridstore.Root) error {
	ca, err := p.home.CA()
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) { // a member it is all the same
			p.log.Error("this node has the CA's key and cannot use it: nobody joins by it, and it renews no certificate", "error", err)
		}
		<-ctx.Done()
		return nil
	}
	if p.Known(ctx) == nil {
		return errors.New("this node's copy of the registry was not opened in time")
	}
	state := p.State()
	service := &grid.Service{
		CA: ca, Control: state.Control, Foreign: state.Foreign, Store: p.gridStore(root), Now: time.Now, Log: p.log,
		Own: func() tls.Certificate { return p.own.Load().tls }, Roots: func() *trust.Roots { return p.own.Load().roots },
	}
	listener, err := service.Listen(ctx, netip.AddrPortFrom(state.Address, grid.ServicePort))
	if err != nil {
		return err
	}
	p.note(func() { p.inviting = true })
	defer p.note(func() { p.inviting = false })
	return service.Serve(ctx, listener)
}

// gridStore is the grid's registry as the invitation service needs it, by the copy that
// is open then.
func (p *Plane) gridStore(root gridstore.Root) grid.Store {
	return grid.Store{
		Token: func(ctx context.Context, id string) (*trust.PendingToken, error) { return p.Registry().Token(ctx, id) },
		Nodes: func(ctx context.Context) ([]grid.Node, error) { return rosterNodes(ctx, p.State(), p.Registry()) },
		Members: func(context.Context) ([]string, error) {
			return membersOf(p.State()), nil
		},
		IsMember:    p.nodeIsMember,
		Certificate: func(ctx context.Context, node string) ([]byte, error) { return p.Registry().Certificate(ctx, node) },
		Admit: func(ctx context.Context, a grid.Admission) error {
			p.admitting.Lock() // of several at once each would only find that another one was faster
			err := root.Admit(ctx, gridstore.Admission{
				Node: a.Node, Address: a.Address, ControlKey: a.ControlKey, Admitted: time.Now(),
			}, a.Certificate, p.State().Node, &a.Token)
			p.admitting.Unlock()
			var taken *gridstore.TakenError
			if errors.Is(err, gridstore.ErrStale) || errors.As(err, &taken) {
				return grid.ErrStale // whose it is is looked up again
			}
			if err != nil {
				return err
			}
			p.awaitJoined(ctx, a)
			return nil
		},
		Renew: func(ctx context.Context, node string, key trust.ControlKey, certificate []byte) error {
			older, err := p.Registry().Certificate(ctx, node)
			if err != nil {
				return err
			}
			certificates, err := trust.Renewed(certificate, older)
			if err != nil {
				return err
			}
			return root.Renew(ctx, node, key, certificates)
		},
	}
}

// awaitJoined waits until a node that was let in is a peer by its own key. It is in
// whatever comes of that, and is told so in time: it may have to knock twice then.
func (p *Plane) awaitJoined(ctx context.Context, a grid.Admission) {
	ctx, cancel := context.WithTimeout(ctx, joinedPatience)
	defer cancel()
	if err := p.untilPeer(ctx, a.ControlKey, true); err != nil {
		p.log.Warn("node joined", "node", a.Node, "error", err)
	}
}

// nodeIsMember says whether a node is a member: as this node has learned, or as the
// members themselves have it.
func (p *Plane) nodeIsMember(ctx context.Context, node string) (bool, error) {
	if slices.Contains(membersOf(p.State()), node) {
		return true, nil
	}
	s, err := p.administer()
	if err != nil || s.member == nil {
		return false, err
	}
	place, err := p.placeOf(ctx, node)
	if err != nil {
		return false, err
	}
	members, err := s.member.Members(ctx)
	peer := netip.AddrPortFrom(place.Address, peerPort)
	return slices.ContainsFunc(members, func(m registry.GridMember) bool { return m.Peer == peer }), err
}

// rosterNodes gives everybody who has a place in the grid, believed or not.
func rosterNodes(ctx context.Context, state *grid.State, client *gridstore.Client) ([]grid.Node, error) {
	roster, err := client.Roster(ctx)
	if err != nil {
		return nil, err
	}
	var list []grid.Node
	for _, a := range roster {
		n := grid.Node{Name: a.Node, Address: a.Address, ControlKey: a.ControlKey}
		if i := slices.IndexFunc(state.Members, func(m grid.Node) bool { return m.Name == a.Node }); i >= 0 {
			n.Endpoint = state.Members[i].Endpoint
		}
		list = append(list, n)
	}
	return list, nil
}
