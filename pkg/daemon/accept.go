package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
	"github.com/zosnet/zosnet/pkg/spec"
	"github.com/zosnet/zosnet/pkg/trust"
)

// acceptance tells which networks of the grid this node does not carry because of
// whose they are.
type acceptance struct {
	accept trust.Accept
	snap   gridstore.Snapshot
}

func (d *Daemon) acceptance(snap gridstore.Snapshot) (acceptance, error) {
	accept, err := trust.ParseAccept(d.file.node().Accept)
	return acceptance{accept, snap}, err
}

// refused gives an error that wraps trust.ErrNotAccepted where the owner of a network
// is not, or not any more, accepted here.
func (a acceptance) refused(network string) error {
	if n := a.snap.Networks[network]; n != nil && n.Document != nil {
		if a.accept.Allows(n.Document.Owner) {
			return nil
		}
		return fmt.Errorf("network %s: %w any more; what it has here stays as it is until its last workload here is detached. Add %s to accept in node.yaml if it should go on",
			network, trust.ErrNotAccepted, n.Document.Owner)
	}
	if err := a.document(network); errors.Is(err, trust.ErrNotAccepted) {
		return err
	}
	return nil
}

// document says why a network's document is not believed; nil: it is, or there is
// none.
func (a acceptance) document(network string) error {
	key := gridstore.Key{Kind: gridstore.KindDocument, Network: network}.String()
	for _, p := range a.snap.Problems {
		if p.Key == key {
			return p.Err
		}
	}
	return nil
}

// attachable refuses a new workload of a network whose owner is not accepted any
// more.
func (d *Daemon) attachable(network string) error {
	if !d.inGrid() || !d.grid.adopted.has(network) {
		return nil
	}
	client := d.control.Registry()
	if client == nil {
		return nil // claiming its name says so
	}
	a, err := d.acceptance(client.Snapshot())
	if err == nil {
		err = a.refused(network)
	}
	if err != nil {
		return refused(err.Error())
	}
	return nil
}

// attached tells whether a network has workloads on this node.
func attached(local registry.Snapshot, network string) bool {
	return slices.ContainsFunc(local.Attachments, func(a registry.Attachment) bool { return a.Network == network })
}

// ignored gives what of the grid's state this node leaves out, and why.
func (d *Daemon) ignored(ctx context.Context, v view) ([]*api.Ignored, error) {
	var list []*api.Ignored
	for _, i := range v.state.Ignored {
		list = append(list, &api.Ignored{Object: i.Object, Reason: i.Reason})
	}
	if !d.inGrid() || d.control.Registry() == nil {
		return list, nil
	}
	snap := d.control.Registry().Snapshot()
	for _, p := range snap.Problems {
		object := "registry key " + p.Key
		if k, err := gridstore.ParseKey(p.Key); err == nil && k.Kind == gridstore.KindDocument {
			object = "network " + k.Network
		}
		list = append(list, &api.Ignored{Object: object, Reason: p.Err.Error()})
	}
	a, err := d.acceptance(snap)
	if err != nil {
		return nil, err
	}
	for name := range snap.Networks {
		if err := a.refused(name); err != nil && a.document(name) == nil {
			list = append(list, &api.Ignored{Object: "network " + name, Reason: err.Error()})
		}
	}
	list = append(list, unheardOf(snap, d.grid.adopted.names())...)
	local, err := d.store.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	list = append(list, notUnderstood(snap, local)...)
	for _, n := range local.Networks {
		if _, there := snap.Networks[n.Name]; there && !d.grid.adopted.has(n.Name) {
			list = append(list, &api.Ignored{Object: "network " + n.Name, Reason: sameName(n.Name).Error()})
		}
	}
	slices.SortFunc(list, func(a, b *api.Ignored) int {
		return cmp.Or(cmp.Compare(a.Object, b.Object), cmp.Compare(a.Reason, b.Reason))
	})
	return list, nil
}

// unheardOf gives the networks of the grid that this node carries and of which neither
// the registry nor this node has a document any more. Nobody has ended them.
func unheardOf(snap gridstore.Snapshot, adopted []string) (list []*api.Ignored) {
	for _, name := range adopted {
		if snap.Source == gridstore.SourceCluster && snap.Networks[name] == nil && snap.Carried[name] == nil {
			list = append(list, &api.Ignored{Object: "network " + name,
				Reason: "the grid's registry has no document of it; what it has here stays as it is until its owner applies it again, or deletes it"})
		}
	}
	return list
}

// notUnderstood gives the networks whose owner signed a text that this program cannot
// read: it may be of a newer one.
func notUnderstood(snap gridstore.Snapshot, local registry.Snapshot) (list []*api.Ignored) {
	for name, n := range snap.Networks {
		record, stored := local.Network(name)
		if n.Document == nil || stored && string(record.Document) == n.Document.Text {
			continue
		}
		if _, _, err := spec.DecodeNetwork(n.Document.File, []byte(n.Document.Text)); err != nil {
			list = append(list, &api.Ignored{Object: "network " + name, Reason: fmt.Sprintf(
				"revision %d of its document is not understood here, and the last one that was is enforced; if that one is right for a newer zosnet, upgrade this node: %v",
				n.Document.Revision, err)})
		}
	}
	return list
}

func sameName(network string) error {
	return fmt.Errorf("network %s of the grid has the name of a network that only this node has: delete that, or apply it to the grid from here", network)
}

// ignoredOf gives what concerns one network, here and on other nodes.
func ignoredOf(all []*api.Ignored, network string) (list []*api.Ignored) {
	for _, i := range all {
		if object := "network " + network; i.Object == object || strings.HasPrefix(i.Object, object+" on node ") {
			list = append(list, i)
		}
	}
	return list
}

// registryState tells how far this node knows the grid's registry; nil where it is in
// no grid.
func (d *Daemon) registryState() *api.RegistryState {
	if !d.inGrid() {
		return nil
	}
	s := &api.RegistryState{}
	client := d.control.Registry()
	if client == nil {
		s.Problem = "it is not open yet"
		return s
	}
	snap := client.Snapshot()
	s.Source, s.Confirmed, s.Revision = string(snap.Source), timeText(snap.Confirmed), snap.Revision
	if err := cmp.Or(client.Away(), d.control.Failure()); err != nil {
		s.Problem = err.Error()
	}
	return s
}
