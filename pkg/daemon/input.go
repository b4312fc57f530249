package daemon

import (
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/zosnet/zosnet/pkg/maps"
	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/spec"
)

// decoder turns stored texts into documents, each text once.
type decoder struct {
	mu    sync.Mutex
	known map[string]decoded // by network
}

type decoded struct {
	revision int64
	document *spec.Network
}

// network gives the document of a record.
func (d *decoder) network(r registry.NetworkRecord) (*spec.Network, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if have, ok := d.known[r.Name]; ok && have.revision == r.Revision && r.Revision != 0 {
		return have.document, nil
	}
	document, _, err := spec.DecodeNetwork(r.File, r.Document)
	if err != nil {
		return nil, fmt.Errorf("the stored document of network %s: %w", r.Name, err)
	}
	if d.known == nil {
		d.known = map[string]decoded{}
	}
	if r.Revision != 0 { // else it is not stored yet
		d.known[r.Name] = decoded{r.Revision, document}
	}
	return document, nil
}

// input puts together what the state of this node follows from.
func (d *decoder) input(node *spec.Node, mtu uint16, snap registry.Snapshot, now time.Time) (plan.Input, error) {
	in := plan.Input{
		Node: node, MTU: mtu, Trial: trialOf(snap, now),
		FlowSets: uint32(maps.MaxFlows / maps.FlowWays), FlowShares: uint32(maps.FlowShares),
	}
	for _, r := range snap.Networks {
		document, err := d.network(r)
		if err != nil {
			return plan.Input{}, err
		}
		in.Networks = append(in.Networks, plan.Record{Document: document, ID: r.ID, Prefix: r.Prefix, Services: r.Services, Access: r.Access})
	}
	for _, a := range snap.Attachments {
		in.Attachments = append(in.Attachments, plan.Attachment{
			Network: a.Network, Service: a.Service, Name: a.Name, Kind: plan.WorkloadKind(a.Kind),
			NetnsPath: a.NetnsPath, TapName: a.TapName, Host: a.Host,
		})
	}
	for _, b := range snap.Bindings {
		mac, err := net.ParseMAC(b.MAC)
		if err != nil || len(mac) != 6 {
			return plan.Input{}, fmt.Errorf("the stored address %s of workload %s/%s has the MAC %q, which is none",
				b.Address, b.Network, b.Workload, b.MAC)
		}
		in.Learned = append(in.Learned, plan.Learned{Network: b.Network, Workload: b.Workload, Address: b.Address, MAC: [6]byte(mac)})
	}
	return in, nil
}

// trialOf gives the lockdown that stands in for node.yaml's: one that was
// confirmed, or one whose deadline is ahead.
func trialOf(snap registry.Snapshot, now time.Time) *plan.Trial {
	t := snap.Lockdown
	if t == nil || !t.Deadline.IsZero() && !t.Deadline.After(now) {
		return nil
	}
	return &plan.Trial{Allow: t.Allow, Deadline: t.Deadline}
}
