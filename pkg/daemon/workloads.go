package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/registry"
)

// Attach implements the API.
func (d *Daemon) Attach(ctx context.Context, r *api.AttachRequest) (*api.Workload, error) {
	attachment, err := attachmentOf(r)
	if err != nil {
		return nil, err
	}
	if err := d.attach(ctx, attachment); err != nil {
		return nil, err
	}
	object := "workload " + r.Network + "/" + r.Name
	_, err = d.settle(ctx, func(o string) bool { return o == object || o == "network "+r.Network })
	switch {
	case ctx.Err() != nil:
		return nil, stored(err)
	case err != nil:
		return nil, d.giveUp(ctx, attachment, err)
	}
	v := d.current()
	workload, ok := v.workload(r.Network, r.Name)
	if !ok {
		return nil, refused(fmt.Sprintf("workload %s/%s was detached, or its network deleted, meanwhile", r.Network, r.Name))
	}
	if err := usable(ctx, workload); err != nil {
		return nil, err
	}
	return v.message(workload), nil
}

func attachmentOf(r *api.AttachRequest) (registry.Attachment, error) {
	a := registry.Attachment{Network: r.Network, Service: r.Service, Name: r.Name, Kind: registry.AttachmentNetns}
	switch {
	case r.NetnsPath != "" && r.Tap != "":
		return a, invalid("attach: a workload has a network namespace or a tap, not both")
	case r.NetnsPath != "":
		if !filepath.IsAbs(r.NetnsPath) {
			return a, invalid(fmt.Sprintf("attach: the network namespace %s: want an absolute path", r.NetnsPath))
		}
		if _, err := os.Stat(r.NetnsPath); err != nil {
			return a, invalid(fmt.Sprintf("attach: the network namespace: %v; make it first (ip netns add), or leave out --netns", err))
		}
		a.Kind, a.NetnsPath = registry.AttachmentPath, filepath.Clean(r.NetnsPath)
	case r.Tap != "":
		if len(r.Tap) > 15 || strings.ContainsAny(r.Tap, "/: \t\n") || r.Tap == "." || r.Tap == ".." {
			return a, invalid(fmt.Sprintf("attach: tap %q: want the name of an interface, up to 15 bytes without space, / and :", r.Tap))
		}
		a.Kind, a.TapName = registry.AttachmentTap, r.Tap
	}
	return a, nil
}

// attach stores an attachment, and claims its name in the grid. Others may change things
// while the grid's registry is asked: it may be slow.
func (d *Daemon) attach(ctx context.Context, a registry.Attachment) error {
	if err := d.attachable(a.Network); err != nil {
		return err
	}
	a, err := d.storeAttachment(ctx, a)
	if err != nil {
		return err
	}
	return d.claimName(ctx, a)
}

// storeAttachment stores an attachment that is new and fits into the plan. The registry
// itself would take one again that it has.
func (d *Daemon) storeAttachment(ctx context.Context, a registry.Attachment) (registry.Attachment, error) {
	d.change.Lock()
	defer d.change.Unlock()
	snap, err := d.store.Snapshot(ctx)
	if err != nil {
		return a, err
	}
	for _, other := range snap.Attachments {
		if other.Network == a.Network && other.Name == a.Name {
			return a, &registry.ExistsError{Network: a.Network, Name: fmt.Sprintf("the workload name %q", a.Name), By: other.String()}
		}
	}
	if record, ok := snap.Network(a.Network); ok {
		if err := d.fits(snap, record, a); err != nil {
			return a, err
		}
	}
	return d.store.PutAttachment(ctx, a)
}

// fits refuses an attachment that the plan has no place for. What the registry
// refuses is left to it.
func (d *Daemon) fits(snap registry.Snapshot, record registry.NetworkRecord, a registry.Attachment) error {
	document, err := d.documents.network(record)
	if err != nil {
		return err
	}
	node := d.file.node().Name
	if !slices.Contains(document.Nodes, node) {
		return refused(fmt.Sprintf("attach %s/%s: network %s does not span this node, %s; add it to its nodes", a.Network, a.Name, a.Network, node))
	}
	if _, ok := record.Services[a.Service]; !ok {
		return nil
	}
	next, err := withAttachment(snap, a)
	if err != nil {
		return err
	}
	if _, _, err := d.compute(next, findKeys); err != nil {
		return refused(fmt.Sprintf("attach %s/%s: %v", a.Network, a.Name, err))
	}
	return nil
}

// giveUp takes back an attachment that could not be made.
func (d *Daemon) giveUp(ctx context.Context, a registry.Attachment, cause error) error {
	if err := d.store.DeleteAttachment(ctx, a.Network, a.Name); err != nil {
		return fmt.Errorf("%w\nand it could not be taken back: %w", cause, err)
	}
	_ = d.enforcer.wait(ctx, d.enforcer.request()) // a failure there is retried and shown by status
	return fmt.Errorf("attach %s/%s: it could not be made and was taken back: %w", a.Network, a.Name, cause)
}

// Detach implements the API.
func (d *Daemon) Detach(ctx context.Context, r *api.DetachRequest) (*api.DetachResponse, error) {
	d.change.Lock()
	err := d.store.DeleteAttachment(ctx, r.Network, r.Name)
	d.change.Unlock()
	if err != nil {
		return nil, err
	}
	_, err = d.settle(ctx, func(object string) bool { return object == "workload "+r.Network+"/"+r.Name })
	return &api.DetachResponse{Network: r.Network, Name: r.Name}, stored(err)
}

// workload gives a workload of the plan.
func (v view) workload(network, name string) (plan.Workload, bool) {
	for _, w := range v.state.Workloads {
		if w.Network == network && w.Name == name {
			return w, true
		}
	}
	return plan.Workload{}, false
}
