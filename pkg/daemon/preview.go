package daemon

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/spec"
)

// document is a NETWORK.yaml to be applied.
type document struct {
	file    string
	text    []byte
	network *spec.Network
	signed  *api.Signature // by its owner; nil: not at all
}

// withDocuments gives the snapshot as it would be with documents stored: with
// the same allocations, as long as nothing else is stored before.
func withDocuments(snap registry.Snapshot, node *spec.Node, documents []document, now time.Time) (registry.Snapshot, error) {
	blocks, err := ipam.ParseBlocks(node.Prefixes)
	if err != nil {
		return snap, err
	}
	state := snap.IPAM
	next := snap
	next.Networks = slices.Clone(snap.Networks)
	for _, d := range documents {
		old, _ := snap.Network(d.network.Name)
		r := registry.NetworkRecord{Name: d.network.Name, File: d.file, Document: d.text, Services: map[string]uint32{}}
		if state, r.Prefix, err = state.Allocate(blocks, r.Name, node.Name, now); err != nil {
			return snap, err
		}
		if state, r.ID, err = state.AllocateID(r.Name, now); err != nil {
			return snap, err
		}
		for _, service := range d.network.Services {
			id, known := old.Services[service.Name]
			if !known {
				state, id = state.AllocateService()
			}
			r.Services[service.Name] = id
		}
		for _, device := range d.network.Access {
			id, known := old.Access[device.Name]
			if !known {
				state, id = state.AllocateService()
			}
			if r.Access == nil {
				r.Access = map[string]uint32{}
			}
			r.Access[device.Name] = id
		}
		if err := namesApart(snap, r); err != nil {
			return snap, err
		}
		next.Networks = slices.DeleteFunc(next.Networks, func(n registry.NetworkRecord) bool { return n.Name == r.Name })
		next.Networks = append(next.Networks, r)
	}
	slices.SortFunc(next.Networks, func(a, b registry.NetworkRecord) int { return strings.Compare(a.Name, b.Name) })
	next.IPAM = state
	return next, nil
}

// namesApart refuses, as the registry would, a service or an access device named like
// a workload.
func namesApart(snap registry.Snapshot, r registry.NetworkRecord) error {
	for _, a := range snap.Attachments {
		if _, clash := r.Services[a.Name]; clash && a.Network == r.Name {
			return &registry.ExistsError{Network: r.Name, Name: fmt.Sprintf("the name %q of a service", a.Name), By: "a workload of " + a.Service}
		}
		if _, clash := r.Access[a.Name]; clash && a.Network == r.Name {
			return &registry.ExistsError{Network: r.Name, Name: fmt.Sprintf("the name %q of an access device", a.Name), By: "a workload of " + a.Service}
		}
	}
	return nil
}

// orphans gives the workloads that documents leave without a service, or without
// this node.
func orphans(snap registry.Snapshot, node string, documents []document) (list []registry.Attachment) {
	for _, d := range documents {
		spans := slices.Contains(d.network.Nodes, node)
		for _, a := range snap.Attachments {
			if _, kept := d.network.Service(a.Service); a.Network == d.network.Name && (!kept || !spans) {
				list = append(list, a)
			}
		}
	}
	return list
}

// orphanError refuses documents that would leave workloads without their place.
func orphanError(snap registry.Snapshot, node string, documents []document) error {
	var errs []error
	for _, d := range documents {
		left := orphans(snap, node, []document{d})
		if len(left) == 0 {
			continue
		}
		what := "node " + node
		if slices.Contains(d.network.Nodes, node) {
			var services []string
			for _, a := range left {
				services = append(services, a.Service)
			}
			slices.Sort(services)
			what = "service " + strings.Join(slices.Compact(services), ", ")
		}
		var names []string
		for _, a := range left {
			names = append(names, a.Name)
		}
		errs = append(errs, fmt.Errorf("apply network %s without %s: still attached to it: %s; detach them first, or use --force",
			d.network.Name, what, strings.Join(names, ", ")))
	}
	if len(errs) == 0 {
		return nil
	}
	return refused(errors.Join(errs...).Error())
}

// without gives the snapshot without some of its workloads.
func without(snap registry.Snapshot, gone []registry.Attachment) registry.Snapshot {
	left := func(network, workload string) bool {
		return !slices.ContainsFunc(gone, func(a registry.Attachment) bool { return a.Network == network && a.Name == workload })
	}
	next := snap
	next.Attachments, next.Bindings = nil, nil
	for _, a := range snap.Attachments {
		if left(a.Network, a.Name) {
			next.Attachments = append(next.Attachments, a)
		}
	}
	for _, b := range snap.Bindings {
		if left(b.Network, b.Workload) {
			next.Bindings = append(next.Bindings, b)
		}
	}
	return next
}

// withAttachment gives the snapshot as it would be with a workload attached.
func withAttachment(snap registry.Snapshot, a registry.Attachment) (registry.Snapshot, error) {
	used := map[uint32]bool{}
	for _, other := range snap.Attachments {
		if other.Network == a.Network {
			used[other.Host] = true
		}
	}
	host, err := ipam.AllocateHost(func(n uint32) bool { return used[n] })
	if err != nil {
		return snap, err
	}
	a.Host = host
	next := snap
	next.Attachments = append(slices.Clone(snap.Attachments), a)
	return next, nil
}
