package daemon

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

// startMember starts this member of the registry and waits until it serves. The
// grid's first one protects it and lets itself in.
func (p *controlPlane) startMember(ctx context.Context, state *grid.State, id *identity) (*registry.Member, error) {
	files := p.home.Files()
	client := netip.AddrPortFrom(state.Address, gridClientPort)
	member, err := registry.StartMember(ctx, registry.MemberConfig{
		Name: state.Node, Dir: p.home.RegistryDir(), Client: client, Peer: netip.AddrPortFrom(state.Address, gridPeerPort),
		CertFile: files.Certificate, KeyFile: files.Key, CAFile: files.CAs,
	}, p.log)
	if err != nil {
		return nil, err
	}
	if err := p.prepare(ctx, member, state, id, client); err != nil {
		return nil, errors.Join(err, member.Close())
	}
	return member, nil
}

func (p *controlPlane) prepare(ctx context.Context, member *registry.Member, state *grid.State, id *identity, client netip.AddrPort) error {
	select {
	case <-member.Ready():
	case <-member.Failed():
		return member.Err()
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(memberPatience):
		return errors.New("this member of the grid's registry does not serve: are most of the other members there?")
	}
	members, err := member.Members(ctx)
	if err != nil || len(members) > 1 {
		return err
	}
	root := gridstore.Root(member.AsRoot)
	if err := root.Protect(ctx); err != nil {
		return err
	}
	self := gridstore.Admission{Node: state.Node, Address: state.Address, ControlKey: id.ControlKey, Admitted: time.Now()}
	if err := root.Admit(ctx, self, id.pem, "", nil); err != nil {
		return err
	}
	return root.SetMembers(ctx, map[string]netip.AddrPort{state.Node: client})
}

// invite lets nodes in, where this member has the CA's key.
func (p *controlPlane) invite(ctx context.Context, state *grid.State, id *identity, root gridstore.Root, client *gridstore.Client) error {
	ca, err := p.home.CA()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	service := &grid.Service{
		CA: ca, Control: state.Control, Store: p.gridStore(state, root, client), Now: time.Now, Log: p.log,
		Own: func() tls.Certificate { return id.tls }, Roots: func() *trust.Roots { return id.roots },
	}
	return service.Serve(ctx, netip.AddrPortFrom(state.Address, grid.ServicePort))
}

// gridStore is the grid's registry as the invitation service needs it.
func (p *controlPlane) gridStore(state *grid.State, root gridstore.Root, client *gridstore.Client) grid.Store {
	return grid.Store{
		Token: client.Token,
		Nodes: func(ctx context.Context) ([]grid.Node, error) { return rosterNodes(ctx, state, client) },
		Members: func(context.Context) ([]string, error) {
			return membersOf(state), nil
		},
		Certificate: client.Certificate,
		Admit: func(ctx context.Context, a grid.Admission) error {
			err := root.Admit(ctx, gridstore.Admission{
				Node: a.Node, Address: a.Address, ControlKey: a.ControlKey, Admitted: time.Now(),
			}, a.Certificate, state.Node, &a.Token)
			var taken *gridstore.TakenError
			if errors.Is(err, gridstore.ErrStale) || errors.As(err, &taken) {
				return grid.ErrStale // whose it is is looked up again
			}
			if err == nil {
				wake(p.look)
			}
			return err
		},
		Renew: func(ctx context.Context, node string, key trust.ControlKey, certificate []byte) error {
			older, err := client.Certificate(ctx, node)
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
