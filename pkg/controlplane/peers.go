package controlplane

import (
	"context"
	"slices"
	"time"

	"github.com/zosnet/zosnet/pkg/grid"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
	"github.com/zosnet/zosnet/pkg/trust"
)

// followPeers gives the interface its peers: to a member, or one that is about to
// be, the nodes that the CA certified and that the roster names, and its guests; to
// another node the members.
func (p *Plane) followPeers(ctx context.Context, client *gridstore.Client) error {
	state, id := p.State(), p.own.Load()
	v := grid.View{Self: state.Node, Control: state.Control, Nodes: state.Members, Members: membersOf(state)}
	self := client.Snapshot().Nodes[state.Node]
	if p.isMember(state) || self != nil && len(self.Joining) > 0 {
		nodes, err := provenNodes(ctx, state, id.roots, client)
		if err != nil {
			return err
		}
		v.Nodes = nodes
		if self != nil {
			v.Pending = self.Tokens
		}
		if !slices.Contains(v.Members, state.Node) {
			v.Members = append(v.Members, state.Node)
		}
	}
	return p.putInterface(id, v)
}

// provenNodes gives the nodes of the grid, as their certificates say. The roster
// alone is believed by nobody: it says only who is still there.
func provenNodes(ctx context.Context, state *grid.State, roots *trust.Roots, client *gridstore.Client) ([]grid.Node, error) {
	roster, err := client.Roster(ctx)
	if err != nil {
		return nil, err
	}
	known := client.Snapshot().Nodes
	var list []grid.Node
	for _, a := range roster {
		if i := slices.IndexFunc(state.Members, func(m grid.Node) bool { return m.Name == a.Node }); i >= 0 {
			list = append(list, state.Members[i])
			continue
		}
		id := identityOf(known[a.Node])
		if id == nil || id.ControlKey != a.ControlKey { // it has just been let in
			pem, err := client.Certificate(ctx, a.Node)
			if err != nil {
				return nil, err
			}
			if id, err = roots.Identity(a.Node, pem); err != nil {
				continue // it is no node
			}
		}
		if id.Valid(time.Now()) == nil {
			list = append(list, grid.Node{Name: a.Node, Address: id.Address, ControlKey: id.ControlKey})
		}
	}
	return list, nil
}

func identityOf(n *gridstore.Node) *trust.Identity {
	if n == nil {
		return nil
	}
	return n.Identity
}
