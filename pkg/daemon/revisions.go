package daemon

import (
	"context"
	"fmt"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
	"github.com/zosnet/zosnet/pkg/spec"
)

// DiffNetwork implements the API.
func (d *Daemon) DiffNetwork(ctx context.Context, r *api.DiffNetworkRequest) (*api.NetworkDiff, error) {
	response := &api.NetworkDiff{Network: r.Network}
	var documents []document // that, or none
	var to *spec.Network
	if len(r.Text) > 0 {
		var err error
		if documents, _, err = d.decode([]*api.Document{{File: r.File, Text: r.Text}}); err != nil {
			return nil, err
		}
		if to = documents[0].network; to.Name != r.Network {
			return nil, invalid(fmt.Sprintf("%s is of network %s, not of %s", r.File, to.Name, r.Network))
		}
	}
	own, err := d.ownNetwork(ctx, r.Network)
	switch {
	case err != nil:
		return nil, err
	case !d.inGrid() || own:
		return response, d.diffOwn(ctx, documents, response)
	}
	client, err := d.openedRegistry(ctx)
	if err != nil {
		return nil, err
	}
	f, err := lookAt(ctx, client, r.Network, to)
	if err != nil {
		return nil, err
	}
	if f.from != nil {
		response.From = f.snap.Networks[r.Network].Document.Revision
	}
	if to == nil {
		if err := d.lastRevision(ctx, client, r.Network, f, response); err != nil {
			return nil, err
		}
	}
	if err := f.foresee(""); err != nil {
		return nil, err
	}
	response.Document, response.Changes, response.Notes = differences(f.from, f.to), f.changes, f.notes
	return response, nil
}

// lastRevision makes a foresight one of the last revision of a network, from the one
// before.
func (d *Daemon) lastRevision(ctx context.Context, client *gridstore.Client, network string, f *foresight, response *api.NetworkDiff) error {
	revisions, err := client.History(ctx, network)
	switch {
	case err != nil:
		return err
	case f.from == nil:
		return &registry.NotFoundError{Kind: "network", Name: network}
	case len(revisions) < 2 || revisions[1].Err != nil:
		return refused(fmt.Sprintf("of network %s no revision before the last one, %d, is kept; compare it with a file: zosnet network diff %s -f FILE",
			network, response.From, network))
	}
	f.to, f.from = f.from, nil
	response.From, response.To = revisions[1].Revision, response.From
	if before := revisions[1]; !before.Released {
		f.from, _, err = spec.DecodeNetwork(before.File, []byte(before.Text))
	}
	return err
}

// diffOwn compares a network that only this node has.
func (d *Daemon) diffOwn(ctx context.Context, documents []document, response *api.NetworkDiff) error {
	if len(documents) == 0 {
		return refused(fmt.Sprintf("of network %s, which only this node has, no past documents are kept; compare it with a file: zosnet network diff %s -f FILE",
			response.Network, response.Network))
	}
	snap, err := d.store.Snapshot(ctx)
	if err != nil {
		return err
	}
	var from *spec.Network
	if record, stored := snap.Network(response.Network); stored {
		if from, err = d.documents.network(record); err != nil {
			return err
		}
	}
	preview := &api.ApplyResponse{DryRun: true}
	if err := d.put(ctx, documents, true, preview); err != nil {
		return err
	}
	for _, c := range preview.Changes {
		response.Changes = append(response.Changes, &api.NodeChange{Node: d.file.node().Name, Object: c.Object, Action: c.Action, Detail: c.Detail})
	}
	response.Document = differences(from, documents[0].network)
	return nil
}

func differences(from, to *spec.Network) (list []*api.Difference) {
	for _, difference := range spec.Differences(from, to) {
		m := &api.Difference{Part: difference.Part, Action: string(plan.Modify), From: difference.From, To: difference.To}
		switch {
		case difference.From == "":
			m.Action = string(plan.Add)
		case difference.To == "":
			m.Action = string(plan.Remove)
		}
		list = append(list, m)
	}
	return list
}

// ListRevisions implements the API.
func (d *Daemon) ListRevisions(ctx context.Context, r *api.ListRevisionsRequest) (*api.ListRevisionsResponse, error) {
	if !d.inGrid() {
		return nil, refused("this node is in no grid, and keeps no past documents: keep them where you write them")
	}
	client, err := d.openedRegistry(ctx)
	if err != nil {
		return nil, err
	}
	revisions, err := client.History(ctx, r.Network)
	if err != nil {
		return nil, err
	}
	if len(revisions) == 0 {
		return nil, &registry.NotFoundError{Kind: "network", Name: r.Network}
	}
	response := &api.ListRevisionsResponse{Network: r.Network}
	for i, revision := range revisions {
		m := &api.Revision{Revision: revision.Revision, Owner: revision.Owner.String(), Applied: timeText(revision.Applied),
			File: revision.File, Released: revision.Released, Text: revision.Text}
		to, err := decodeRevision(revision)
		if err != nil {
			m.Problem = err.Error()
		}
		var from *spec.Network
		known := err == nil && m.Revision == 1
		if i+1 < len(revisions) && err == nil && revisions[i+1].Revision+1 == m.Revision {
			from, err = decodeRevision(revisions[i+1])
			known = err == nil
		}
		if m.First = !known; known {
			m.Changes = differences(from, to)
		}
		response.Revisions = append(response.Revisions, m)
	}
	return response, nil
}

// decodeRevision gives a past document; nil for one that ended the network.
func decodeRevision(r gridstore.Revision) (*spec.Network, error) {
	if r.Err != nil || r.Released {
		return nil, r.Err
	}
	network, _, err := spec.DecodeNetwork(r.File, []byte(r.Text))
	return network, err
}
