package daemon

import (
	"context"
	"fmt"
	"slices"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/maps"
	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
	"github.com/zosnet/zosnet/pkg/spec"
	"github.com/zosnet/zosnet/pkg/wireguard"
)

// foresight tells what a document would change on nodes, by the plan that each of
// them makes, as far as the grid's registry says what that follows from.
type foresight struct {
	snap gridstore.Snapshot
	from *spec.Network // nil: there is none
	to   *spec.Network // nil: it goes

	changes []*api.NodeChange
	notes   []string
}

// foresee looks at every node that one of the documents names, but one.
func (f *foresight) foresee(but string) error {
	for _, node := range f.nodes() {
		if node == but {
			continue
		}
		if err := f.node(node); err != nil {
			return fmt.Errorf("what changes on node %s: %w", node, err)
		}
	}
	return nil
}

func (f *foresight) nodes() (list []string) {
	for _, document := range []*spec.Network{f.from, f.to} {
		if document != nil {
			list = append(list, document.Carriers()...)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func (f *foresight) note(format string, args ...any) {
	f.notes = append(f.notes, fmt.Sprintf(format, args...))
}

func (f *foresight) node(name string) error {
	before, after := names(f.from, name), names(f.to, name)
	n := f.snap.Nodes[name]
	if n == nil || n.Identity == nil {
		f.note("node %s: there is no such node in the grid, or it proves nothing; if it comes, it takes the network over then", name)
		return nil
	}
	if !n.Live {
		f.note("node %s is not live: it changes once it is", name)
	}
	document := f.to
	if !after {
		document = f.from
	}
	part := f.part(document.Name, name)
	switch {
	case part == nil && !after:
		return nil // it never took it over
	case part == nil:
		f.changes = append(f.changes, &api.NodeChange{Node: name, Object: "network " + document.Name, Action: string(plan.Add), Detail: "with a /64 of the node's own"})
		f.note("node %s: which /64 it gives the network, and whether it accepts its owner, only it knows", name)
		return nil
	}
	var states [2]plan.State
	for i, document := range []*spec.Network{f.from, f.to} {
		if i == 0 && !before || i == 1 && !after {
			continue
		}
		var err error
		if states[i], err = plan.Compute(f.input(name, part, document)); err != nil {
			return err
		}
	}
	for _, c := range plan.DiffElsewhere(states[0], states[1]) {
		f.changes = append(f.changes, &api.NodeChange{Node: name, Object: c.Object, Action: string(c.Action), Detail: c.Detail})
	}
	return nil
}

func names(document *spec.Network, node string) bool {
	return document != nil && document.CarriedBy(node)
}

func (f *foresight) part(network, node string) *gridstore.Part {
	if n := f.snap.Networks[network]; n != nil {
		return n.Parts[node]
	}
	return nil
}

// input is what a node's plan of this network follows from, with numbers that are the
// same for each document: the node has others, which only it knows.
func (f *foresight) input(node string, part *gridstore.Part, document *spec.Network) plan.Input {
	self := spec.Node{Name: node}
	others := othersOf(f.snap, "")
	for _, n := range others.nodes {
		if n.Name == node {
			self.Endpoint, self.Prefixes = n.Endpoint, n.Blocks
		}
	}
	key, _ := wireguard.ParsePublicKey(part.PublicKey)
	own := plan.Part{Network: document.Name, Node: node, Prefix: part.Prefix, PublicKey: key, Port: part.Port}
	isOwn := func(n string) bool { return n == node }
	in := plan.Input{
		Node: &self, FlowSets: uint32(maps.MaxFlows / maps.FlowWays), FlowShares: uint32(maps.FlowShares),
		Networks: []plan.Record{{Document: document, ID: 1, Prefix: part.Prefix, Services: f.services(), Access: f.devices()}},
		Nodes:    slices.DeleteFunc(others.nodes, func(n plan.Node) bool { return isOwn(n.Name) }),
		Parts:    append(slices.DeleteFunc(others.parts, func(p plan.Part) bool { return isOwn(p.Node) }), own),
		Remote:   slices.DeleteFunc(others.remote, func(r plan.Remote) bool { return isOwn(r.Node) }),
	}
	if entrance, _ := wireguard.ParsePublicKey(part.EntranceKey); endsAt(in, document) {
		in.Entrances = []plan.EntranceKey{{Network: document.Name, PublicKey: entrance, Port: part.EntrancePort}}
	}
	for _, a := range f.snap.Networks[document.Name].Attachments[node] {
		if _, kept := document.Service(a.Service); !kept {
			continue // it is detached, or the document refused
		}
		in.Attachments = append(in.Attachments, plan.Attachment{
			Network: document.Name, Service: a.Service, Name: a.Workload, Kind: plan.WorkloadKind(a.Kind), TapName: a.Workload, Host: a.Host,
		})
	}
	return in
}

// services numbers the services of both documents.
func (f *foresight) services() map[string]uint32 {
	return f.number(1, func(n *spec.Network) (names []string) {
		for _, s := range n.Services {
			names = append(names, s.Name)
		}
		return names
	})
}

// devices numbers their access devices, above all services.
func (f *foresight) devices() map[string]uint32 {
	return f.number(1<<16, func(n *spec.Network) (names []string) {
		for _, a := range n.Access {
			names = append(names, a.Name)
		}
		return names
	})
}

func (f *foresight) number(first uint32, pick func(*spec.Network) []string) map[string]uint32 {
	ids := map[string]uint32{}
	for _, document := range []*spec.Network{f.from, f.to} {
		if document == nil {
			continue
		}
		for _, name := range pick(document) {
			if _, known := ids[name]; !known {
				ids[name] = first + uint32(len(ids))
			}
		}
	}
	return ids
}

// addElsewhere adds to a dry run what it would change on other nodes.
func (d *Daemon) addElsewhere(ctx context.Context, documents []document, response *api.ApplyResponse) error {
	if !d.inGrid() {
		return nil
	}
	client, err := d.openedRegistry(ctx)
	if err != nil {
		return err
	}
	for _, document := range documents {
		f, err := lookAt(ctx, client, document.network.Name, document.network)
		if err != nil {
			response.Notes = append(response.Notes, fmt.Sprintf("what network %s would change on other nodes is not known: %v", document.network.Name, err))
			continue
		}
		if err := f.foresee(d.file.node().Name); err != nil {
			return err
		}
		response.Elsewhere, response.Notes = append(response.Elsewhere, f.changes...), append(response.Notes, f.notes...)
	}
	return nil
}

// lookAt reads what is known of a network, to see what another document changes.
func lookAt(ctx context.Context, client *gridstore.Client, network string, to *spec.Network) (*foresight, error) {
	asking, cancel := context.WithTimeout(ctx, listPatience)
	defer cancel()
	var named []string
	if to != nil {
		named = to.Carriers()
	}
	snap, err := client.Look(asking, network, named)
	if err != nil {
		return nil, err
	}
	f := &foresight{snap: snap, to: to}
	if n := snap.Networks[network]; n != nil && n.Document != nil {
		if f.from, _, err = spec.DecodeNetwork(n.Document.File, []byte(n.Document.Text)); err != nil {
			return nil, fmt.Errorf("the document in the registry, revision %d: %w", n.Document.Revision, err)
		}
	}
	return f, nil
}
