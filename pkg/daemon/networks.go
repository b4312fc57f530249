package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/spec"
)

// Apply implements the API.
func (d *Daemon) Apply(ctx context.Context, r *api.ApplyRequest) (*api.ApplyResponse, error) {
	documents, warnings, err := d.decode(r.Documents)
	if err != nil {
		return nil, err
	}
	response := &api.ApplyResponse{Warnings: warnings, DryRun: r.DryRun}
	store := d.put
	if d.inGrid() && !r.DryRun {
		store = d.putInGrid
	}
	if err := store(ctx, documents, r.Force, response); err != nil {
		return response, err
	}
	if r.DryRun {
		return response, d.addElsewhere(ctx, documents, response)
	}
	networks := map[string]bool{}
	for _, document := range documents {
		networks[document.network.Name] = true
	}
	others, err := d.settle(ctx, func(object string) bool { return networks[networkOf(object)] })
	response.Warnings = append(response.Warnings, others...)
	response.Warnings = append(response.Warnings, d.current().state.Warnings()...)
	return response, stored(err)
}

// decode reads the documents of a request, and refuses what is wrong with any of
// them in one error.
func (d *Daemon) decode(texts []*api.Document) (documents []document, warnings []string, err error) {
	if len(texts) == 0 {
		return nil, nil, invalid("apply: no document is given")
	}
	var problems spec.Errors
	seen := map[string]string{}
	for _, text := range texts {
		network, notes, err := spec.DecodeNetwork(text.File, text.Text)
		if err == nil {
			err = network.NotYet()
		}
		if err != nil {
			var found spec.Errors
			if !errors.As(err, &found) {
				return nil, nil, err
			}
			problems = append(problems, found...)
			continue
		}
		if other, twice := seen[network.Name]; twice {
			problems = append(problems, spec.Problem{Pos: network.Where["network"], Key: "network",
				Found: fmt.Sprintf("%q", network.Name), Expected: "another name, since " + other + " has this one"})
		}
		seen[network.Name] = text.File
		for _, w := range append(notes, network.Warnings(d.file.node().Name)...) {
			if d.inGrid() && (strings.HasPrefix(w.Key, "nodes[") || w.Key == "exit") {
				continue // other nodes carry their parts
			}
			warnings = append(warnings, w.String())
		}
		documents = append(documents, document{text.File, text.Text, network, text.Signature})
	}
	if len(problems) > 0 {
		return nil, nil, problems
	}
	return documents, warnings, nil
}

// put stores documents, unless it is a dry run, and tells what that changes. A
// plan that they do not fit into is refused before anything is stored.
func (d *Daemon) put(ctx context.Context, documents []document, force bool, response *api.ApplyResponse) error {
	d.change.Lock()
	defer d.change.Unlock()
	snap, err := d.store.Snapshot(ctx)
	if err != nil {
		return err
	}
	node := d.space.Giving(snap)
	if d.inGrid() && response.DryRun {
		documents = carriedHere(snap, node.Name, documents)
	}
	orphaned := orphans(snap, node.Name, documents)
	if err := orphanError(snap, node.Name, documents); err != nil && !force {
		return err
	}
	next, err := withDocuments(without(snap, orphaned), node, documents, time.Now())
	if err != nil {
		return d.space.Exhausted(err)
	}
	_, before, broken := d.compute(snap, findKeys)
	_, after, err := d.compute(next, findKeys)
	switch {
	case err != nil && broken == nil:
		return invalid(err.Error())
	case err != nil:
		return fmt.Errorf("what is stored has no plan, also not with this: %w", err)
	}
	for _, c := range plan.Diff(before, after) { // from nothing where broken
		response.Changes = append(response.Changes, &api.Change{Object: c.Object, Action: string(c.Action), Detail: c.Detail})
	}
	response.Revision = snap.Revision
	for _, document := range documents {
		if warning := givenAnew(d.storedNetwork(snap, document.network.Name), document.network); warning != "" {
			response.Warnings = append(response.Warnings, warning)
		}
	}
	for _, a := range orphaned {
		response.Detached = append(response.Detached, a.Network+"/"+a.Name)
	}
	if !response.DryRun {
		if err := d.detachAll(ctx, orphaned); err != nil {
			return err
		}
		if next, err = d.write(ctx, node, documents); err != nil {
			return err
		}
		response.Revision = next.Revision
	}
	for _, document := range documents {
		response.Networks = append(response.Networks, applied(document, snap, next))
	}
	return nil
}

// write stores documents and gives the registry as it is then.
func (d *Daemon) write(ctx context.Context, node *spec.Node, documents []document) (registry.Snapshot, error) {
	stored := make([]registry.NetworkDocument, len(documents))
	for i, document := range documents {
		stored[i] = registry.NetworkDocument{Name: document.network.Name, File: document.file, Document: document.text}
		for _, service := range document.network.Services {
			stored[i].Services = append(stored[i].Services, service.Name)
		}
		for _, device := range document.network.Access {
			stored[i].Access = append(stored[i].Access, device.Name)
		}
	}
	if _, err := d.store.PutNetworks(ctx, node.Name, node.Prefixes, stored); err != nil {
		return registry.Snapshot{}, d.space.Exhausted(err)
	}
	return d.store.Snapshot(ctx)
}

func (d *Daemon) detachAll(ctx context.Context, workloads []registry.Attachment) error {
	for _, a := range workloads {
		if err := d.store.DeleteAttachment(ctx, a.Network, a.Name); err != nil {
			return err
		}
	}
	return nil
}

func applied(d document, before, after registry.Snapshot) *api.AppliedNetwork {
	old, existed := before.Network(d.network.Name)
	now, _ := after.Network(d.network.Name)
	action := "changed"
	switch {
	case !existed:
		action = "created"
	case string(old.Document) == string(d.text):
		action = "unchanged"
	}
	return &api.AppliedNetwork{Network: d.network.Name, Prefix: now.Prefix.String(), Action: action}
}

// Delete implements the API.
func (d *Daemon) Delete(ctx context.Context, r *api.DeleteRequest) (*api.DeleteResponse, error) {
	response := &api.DeleteResponse{Network: r.Network}
	remove := d.remove
	if own, err := d.ownNetwork(ctx, r.Network); err != nil {
		return nil, err
	} else if d.inGrid() && !own {
		remove = d.releaseInGrid
	}
	if err := remove(ctx, r, response); err != nil {
		return nil, err
	}
	_, err := d.settle(ctx, func(object string) bool { return networkOf(object) == r.Network })
	return response, stored(err)
}

func (d *Daemon) remove(ctx context.Context, r *api.DeleteRequest, response *api.DeleteResponse) error {
	d.change.Lock()
	defer d.change.Unlock()
	snap, err := d.store.Snapshot(ctx)
	if err != nil {
		return err
	}
	for _, a := range snap.Attachments {
		if a.Network == r.Network {
			response.Detached = append(response.Detached, a.Name)
		}
	}
	if err := d.store.DeleteNetwork(ctx, r.Network, r.Force); err != nil {
		return err
	}
	return errors.Join(d.entrances.forget(r.Network), d.configurations.forget(r.Network))
}

// ListNetworks implements the API.
func (d *Daemon) ListNetworks(ctx context.Context, _ *api.ListNetworksRequest) (*api.ListNetworksResponse, error) {
	snap, err := d.store.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	response := &api.ListNetworksResponse{}
	for _, r := range snap.Networks {
		document, err := d.documents.network(r)
		if err != nil {
			return nil, err
		}
		n := &api.NetworkSummary{Network: r.Name, Prefix: r.Prefix.String(), Nodes: document.Nodes}
		for _, service := range document.Services {
			n.Services = append(n.Services, service.Name)
		}
		for _, a := range snap.Attachments {
			if a.Network == r.Name {
				n.Workloads = append(n.Workloads, a.Name)
			}
		}
		slices.Sort(n.Workloads)
		n.Grid = d.grid.adopted.has(r.Name)
		response.Networks = append(response.Networks, n)
	}
	return response, d.addIgnored(ctx, response)
}

// addIgnored says of each network of the grid that names this node and is left out
// here, why.
func (d *Daemon) addIgnored(ctx context.Context, response *api.ListNetworksResponse) error {
	ignored, err := d.ignored(ctx, view{})
	if err != nil {
		return err
	}
	for _, i := range ignored {
		name := networkOf(i.Object)
		if name == "" {
			continue
		}
		at := slices.IndexFunc(response.Networks, func(n *api.NetworkSummary) bool { return n.Network == name })
		if at < 0 {
			at = len(response.Networks)
			response.Networks = append(response.Networks, &api.NetworkSummary{Network: name, Grid: true})
		}
		response.Networks[at].Ignored = i.Reason
	}
	return nil
}
