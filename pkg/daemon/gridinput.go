package daemon

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/zosnet/zosnet/pkg/delegation"
	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
	"github.com/zosnet/zosnet/pkg/wireguard"
)

// others is what the plan must know of other nodes.
type others struct {
	nodes  []plan.Node
	parts  []plan.Part
	remote []plan.Remote
}

// othersOf turns what is known of the grid into the plan's terms. What is no key or
// no delegation is left empty: the plan says that it does not fit.
func othersOf(snap gridstore.Snapshot, self string) (o others) {
	holders := delegation.HoldersOf(snap)
	o.nodes = make([]plan.Node, 0, len(snap.Nodes))
	for name, n := range snap.Nodes {
		if name != self && n.Record != nil {
			o.nodes = append(o.nodes, plan.Node{Name: name, Endpoint: n.Record.Endpoint})
		}
	}
	slices.SortFunc(o.nodes, func(a, b plan.Node) int { return cmp.Compare(a.Name, b.Name) })
	at := make(map[string]int, len(o.nodes))
	for i, n := range o.nodes {
		at[n.Name] = i
	}
	most := 0
	for _, network := range snap.Networks {
		most += len(network.Parts)
	}
	o.parts, o.remote = make([]plan.Part, 0, most), make([]plan.Remote, 0, most)
	for _, network := range sortedNetworks(snap) {
		for _, node := range slices.Sorted(maps.Keys(network.Parts)) {
			i, known := at[node]
			if !known {
				continue
			}
			part, blocks := network.Parts[node], &o.nodes[i].Blocks
			if !slices.Contains(*blocks, part.Block) && holders.Gave(snap, part.Holder, part.Block, node) {
				*blocks = append(*blocks, part.Block)
			}
			o.parts = append(o.parts, partOf(network.Name, node, part, self))
			o.addRemote(network, node)
		}
	}
	return o
}

// partOf turns another node's part of a network into the plan's terms.
func partOf(network, node string, part *gridstore.Part, self string) plan.Part {
	key, _ := wireguard.ParsePublicKey(part.PublicKey)
	p := plan.Part{
		Network: network, Node: node, Prefix: part.Prefix, PublicKey: key, Port: part.Port,
		Generation: wireguard.Generation(part.Generation), Sends: slices.Contains(part.Sends, self),
		Unheard: slices.Contains(part.Unheard, self),
	}
	if next := part.Next; next != nil {
		key, _ := wireguard.ParsePublicKey(next.PublicKey)
		p.Next = &plan.Successor{Generation: wireguard.Generation(next.Generation), PublicKey: key, Port: next.Port}
	}
	return p
}

// addRemote adds the workloads of a network on another node, with every address that
// the node has published for them.
func (o *others) addRemote(network *gridstore.Network, node string) {
	for _, a := range network.Attachments[node] {
		r := plan.Remote{Network: network.Name, Service: a.Service, Name: a.Workload, Node: node}
		if a.Address.IsValid() {
			r.Addresses = append(r.Addresses, a.Address)
		}
		for _, b := range network.Bindings[node] {
			if b.Workload == a.Workload && !b.Address.IsLinkLocalUnicast() {
				r.Addresses = append(r.Addresses, b.Address)
			}
		}
		o.remote = append(o.remote, r)
	}
}

func sortedNetworks(snap gridstore.Snapshot) []*gridstore.Network {
	return slices.SortedFunc(maps.Values(snap.Networks), func(a, b *gridstore.Network) int { return cmp.Compare(a.Name, b.Name) })
}

// addOthers adds what the grid says to what the plan follows from. To know nothing
// yet is not that there is nothing: the overlays that are there would go.
func (d *Daemon) addOthers(in *plan.Input, local registry.Snapshot, keys keyMaking) error {
	if !d.inGrid() {
		return nil
	}
	client := d.control.Known(context.Background())
	if client == nil {
		return errors.New("what was known of the grid cannot be opened yet; what is enforced stays")
	}
	snap := client.Snapshot()
	if snap.Source == gridstore.SourceNone && len(d.grid.adopted.names()) > 0 {
		return errors.New("nothing is known of the grid any more, until its registry is reached; what is enforced stays")
	}
	own, err := d.grid.parts(local, snap, &d.documents, in.Node, keys)
	if err != nil {
		return err
	}
	AddGrid(in, own, snap)
	in.Sessions = d.sessions.input(time.Now())
	markGone(in, snap)
	return nil
}

// AddGrid adds what a snapshot of the grid says of other nodes to what the plan follows
// from, beside this node's own parts.
func AddGrid(in *plan.Input, own []plan.Part, snap gridstore.Snapshot) {
	o := othersOf(snap, in.Node.Name)
	in.Nodes, in.Parts, in.Remote = o.nodes, slices.Concat(own, o.parts), o.remote
}
