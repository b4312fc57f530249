package controlplane

import (
	"maps"
	"slices"
	"time"

	"github.com/zosnet/zosnet/pkg/grid"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
)

// followPeers gives the interface its peers: to a member, or one that is about to
// be, the nodes that the CA certified and that the roster names, and its guests; to
// another node the members.
func (p *Plane) followPeers(client *gridstore.Client) error {
	state, snap := p.State(), client.Snapshot()
	v := grid.View{Self: state.Node, Control: state.Control, Nodes: state.Members, Members: membersOf(state)}
	self := snap.Nodes[state.Node]
	if p.isMember(state) || self != nil && len(self.Joining) > 0 {
		v.Nodes = provenNodes(snap, state.Members, time.Now())
		if self != nil {
			v.Pending = self.Tokens
		}
		if !slices.Contains(v.Members, state.Node) {
			v.Members = append(v.Members, state.Node)
		}
	}
	return p.putInterface(p.own.Load(), v)
}

// provenNodes gives the members as they are known, and the other nodes of the grid by
// name, as their certificates say. The roster alone is believed by nobody: it says only
// who is still there.
func provenNodes(snap gridstore.Snapshot, members []grid.Node, now time.Time) []grid.Node {
	list := slices.Clone(members)
	for _, name := range slices.Sorted(maps.Keys(snap.Nodes)) {
		n := snap.Nodes[name]
		if n.Admitted == nil || slices.ContainsFunc(members, func(m grid.Node) bool { return m.Name == name }) {
			continue
		}
		if id := n.Identity; id != nil && id.ControlKey == n.Admitted.ControlKey && id.Valid(now) == nil {
			list = append(list, grid.Node{Name: name, Address: id.Address, ControlKey: id.ControlKey})
		}
	}
	return list
}
