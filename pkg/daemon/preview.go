package daemon

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/spec"
)

// document is a NETWORK.yaml to be applied.
type document struct {
	file    string
	text    []byte
	network *spec.Network
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
		if state, r.Prefix, err = state.Allocate(blocks, r.Name, now); err != nil {
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
		if err := keepsWorkloads(snap, r); err != nil {
			return snap, err
		}
		next.Networks = slices.DeleteFunc(next.Networks, func(n registry.NetworkRecord) bool { return n.Name == r.Name })
		next.Networks = append(next.Networks, r)
	}
	slices.SortFunc(next.Networks, func(a, b registry.NetworkRecord) int { return strings.Compare(a.Name, b.Name) })
	next.IPAM = state
	return next, nil
}

// keepsWorkloads refuses, as the registry would, a document without a service
// that workloads are attached to, or with one named like a workload.
func keepsWorkloads(snap registry.Snapshot, r registry.NetworkRecord) error {
	services := map[string]bool{}
	var workloads []string
	for _, a := range snap.Attachments {
		if a.Network != r.Name {
			continue
		}
		if _, clash := r.Services[a.Name]; clash {
			return &registry.ExistsError{Network: r.Name, Name: fmt.Sprintf("the name %q of a service", a.Name), By: "a workload of " + a.Service}
		}
		if _, kept := r.Services[a.Service]; !kept {
			services[a.Service] = true
			workloads = append(workloads, a.Name)
		}
	}
	if len(workloads) == 0 {
		return nil
	}
	return &registry.InUseError{Network: r.Name, Services: slices.Sorted(maps.Keys(services)), Workloads: workloads}
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
