package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/spec"
)

// ForeseeAccess implements the API. Whoever lets a device in asks here first: a key that
// was made for it would be lost with a configuration that never comes.
func (d *Daemon) ForeseeAccess(ctx context.Context, r *api.ForeseeAccessRequest) (*api.AccessDevice, error) {
	documents, _, err := d.decode([]*api.Document{r.Document})
	if err != nil {
		return nil, err
	}
	document := documents[0].network
	a, ok := document.Device(r.Name)
	if !ok {
		return nil, &registry.NotFoundError{Kind: "access device", Network: document.Name, Name: r.Name}
	}
	self := d.file.node()
	if !document.CarriedBy(self.Name) {
		return nil, refused(fmt.Sprintf("node %s has no part of network %s, and could not tell how %s joins it: do it at one of %s",
			self.Name, document.Name, a.Name, strings.Join(document.Carriers(), ", ")))
	}
	in := plan.Input{Node: self}
	if d.inGrid() {
		if in.Nodes, err = d.nodesOf(ctx, document); err != nil {
			return nil, err
		}
	}
	at, reason := plan.AccessEnd(document, a, in.Reachable)
	if reason != "" {
		return nil, refused(fmt.Sprintf("%s could not join network %s: %s; %s", a.Name, document.Name, reason, withEndpoint(document, a)))
	}
	return &api.AccessDevice{Network: document.Name, Name: a.Name, PublicKey: a.PublicKey, At: at}, nil
}

// withEndpoint says what to do where a device has no node to end at.
func withEndpoint(document *spec.Network, a spec.Access) string {
	where := a.At
	if where == "" {
		where = "one of " + strings.Join(document.Carriers(), ", ")
	}
	return fmt.Sprintf("name the address at which people reach it as `endpoint` in the node.yaml of %s, and reload zosnet there", where)
}

// nodesOf gives the nodes that a document names, as the registry has them now: those that
// are new to it this node has not heard of yet.
func (d *Daemon) nodesOf(ctx context.Context, document *spec.Network) ([]plan.Node, error) {
	client, err := d.openedRegistry(ctx)
	if err != nil {
		return nil, err
	}
	known := othersOf(client.Snapshot(), d.file.node().Name).nodes
	strange := func(node string) bool {
		return node != d.file.node().Name && !slices.ContainsFunc(known, func(n plan.Node) bool { return n.Name == node })
	}
	if !slices.ContainsFunc(document.Carriers(), strange) {
		return known, nil
	}
	f, err := lookAt(ctx, client, document.Name, document)
	if err != nil {
		return nil, fmt.Errorf("look up the nodes of network %s: %w", document.Name, err)
	}
	return append(known, othersOf(f.snap, "").nodes...), nil
}

// givenAnew says whose configurations lack something once a network's nodes are others,
// or are of no use: what nodes it spans stands in them.
func givenAnew(before, after *spec.Network) string {
	if before == nil {
		return ""
	}
	was, is := slices.Sorted(slices.Values(before.Carriers())), slices.Sorted(slices.Values(after.Carriers()))
	if slices.Equal(was, is) {
		return ""
	}
	var names []string
	for _, a := range after.Access {
		if old, ok := before.Device(a.Name); ok && old.PublicKey == a.PublicKey {
			names = append(names, a.Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf("network %s has other nodes now, and the configurations of %s are of those that it had: give them out anew with zosnet access show NAME --network %s",
		after.Name, strings.Join(names, ", "), after.Name)
}

// storedNetwork gives a network's document as a snapshot has it, or nil.
func (d *Daemon) storedNetwork(snap registry.Snapshot, name string) *spec.Network {
	record, ok := snap.Network(name)
	if !ok {
		return nil
	}
	document, err := d.documents.network(record)
	if err != nil {
		return nil // what does not decode any more cannot be compared
	}
	return document
}
