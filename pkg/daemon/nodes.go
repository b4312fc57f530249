package daemon

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/controlplane"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
)

// listPatience is how long the registry is waited for before what this node knows by
// itself is shown.
const listPatience = 5 * time.Second

// ListNodes implements the API.
func (d *Daemon) ListNodes(ctx context.Context, _ *api.ListNodesRequest) (*api.ListNodesResponse, error) {
	if !d.inGrid() {
		return nil, controlplane.ErrNoGrid
	}
	client, err := d.openedRegistry(ctx)
	if err != nil {
		return nil, err
	}
	response := &api.ListNodesResponse{Registry: d.registryState()}
	asking, cancel := context.WithTimeout(ctx, listPatience)
	defer cancel()
	nodes, err := client.Nodes(asking)
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		response.Registry.Problem = cmp.Or(response.Registry.Problem, err.Error())
		nodes = knownNodes(client.Snapshot())
	}
	for _, n := range nodes {
		response.Nodes = append(response.Nodes, listed(n))
	}
	return response, nil
}

// knownNodes gives the nodes that concern this one, as it knows them.
func knownNodes(snap gridstore.Snapshot) (list []gridstore.Listed) {
	for _, name := range slices.Sorted(maps.Keys(snap.Nodes)) {
		l := gridstore.Listed{Node: *snap.Nodes[name], Problem: snap.ProblemOf(name)}
		for _, network := range sortedNetworks(snap) {
			if network.Parts[name] != nil {
				l.Networks = append(l.Networks, network.Name)
			}
		}
		list = append(list, l)
	}
	return list
}

func listed(n gridstore.Listed) *api.Node {
	m := &api.Node{
		Node: n.Name, Member: n.Member.IsValid(), Live: n.Live, Since: timeText(n.Since), Left: timeText(n.Left),
		Networks: n.Networks, Unproven: n.Identity == nil || n.Record == nil, Problem: textOf(n.Problem),
	}
	if n.Admitted != nil {
		m.Address, m.Admitted = n.Admitted.Address.String(), timeText(n.Admitted.Admitted)
	}
	if n.Identity != nil {
		m.Address = n.Identity.Address.String()
	}
	if r := n.Record; r != nil {
		m.Underlay, m.Version, m.Exit = r.Class, r.Program, r.Exit
		if r.Endpoint.IsValid() {
			m.Endpoint = r.Endpoint.String()
		}
	}
	return m
}

// RemoveNode implements the API.
func (d *Daemon) RemoveNode(ctx context.Context, r *api.RemoveNodeRequest) (*api.RemoveNodeResponse, error) {
	if !d.inGrid() {
		return nil, controlplane.ErrNoGrid
	}
	client, err := d.openedRegistry(ctx)
	if err != nil {
		return nil, err
	}
	nodes, err := client.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	response := &api.RemoveNodeResponse{Node: r.Node}
	if i := slices.IndexFunc(nodes, func(n gridstore.Listed) bool { return n.Name == r.Node }); i >= 0 {
		if nodes[i].Live && !r.Force {
			return nil, refused(fmt.Sprintf("remove node %s: it is live, and would go on with what it has; stop its daemon and wait %v, or use --force",
				r.Node, gridstore.LiveTTL))
		}
		response.Networks = nodes[i].Networks
	}
	if err := d.control.Expel(ctx, r.Node); err != nil {
		return nil, fmt.Errorf("remove node %s: %w", r.Node, err)
	}
	return response, nil
}
