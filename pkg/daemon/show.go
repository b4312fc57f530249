package daemon

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/maps"
	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/policy"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/spec"
)

// ShowNetwork implements the API. What only a node that the network spans knows
// is left out elsewhere.
func (d *Daemon) ShowNetwork(ctx context.Context, r *api.ShowNetworkRequest) (*api.Network, error) {
	snap, err := d.store.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	record, ok := snap.Network(r.Network)
	if !ok {
		return nil, d.notHere(ctx, r.Network)
	}
	document, err := d.documents.network(record)
	if err != nil {
		return nil, err
	}
	node := d.file.node().Name
	n := &api.Network{
		Network: record.Name, Id: record.ID, Prefixes: map[string]string{node: record.Prefix.String()},
		Gateway: ipam.Gateway(record.Prefix).String(), Nodes: document.Nodes,
		File: record.File, Applied: timeText(record.Applied),
	}
	for _, s := range document.Services {
		n.Services = append(n.Services, &api.Service{Name: s.Name, Ports: portTexts(s.Ports)})
	}
	v := d.current()
	for _, w := range v.state.Workloads {
		if w.Network == record.Name && !w.IsResolver() {
			n.Workloads = append(n.Workloads, v.message(w))
		}
	}
	v.addElsewhere(n)
	ignored, err := d.ignored(ctx, v)
	if err != nil {
		return nil, err
	}
	n.Ignored = ignoredOf(ignored, n.Network)
	for _, planned := range v.state.Networks {
		if planned.Name == record.Name {
			n.Bridge = planned.Bridge
			return n, d.count(n, planned)
		}
	}
	return n, nil
}

// notHere says why there is nothing of a network on this node.
func (d *Daemon) notHere(ctx context.Context, network string) error {
	ignored, err := d.ignored(ctx, view{})
	if err != nil {
		return err
	}
	for _, i := range ignored {
		if i.Object == "network "+network {
			return refused(fmt.Sprintf("there is nothing of network %s here: %s", network, i.Reason))
		}
	}
	return &registry.NotFoundError{Kind: "network", Name: network}
}

// addElsewhere adds what other nodes carry of a network.
func (v view) addElsewhere(n *api.Network) {
	for _, p := range v.input.Parts {
		if p.Network == n.Network {
			n.Prefixes[p.Node] = p.Prefix.String()
		}
	}
	for _, r := range v.input.Remote {
		if r.Network != n.Network {
			continue
		}
		w := &api.Workload{Name: r.Name, Service: r.Service, Node: r.Node, Network: r.Network}
		for _, a := range r.Addresses {
			w.Addresses = append(w.Addresses, a.String())
		}
		if len(w.Addresses) > 0 {
			w.Address = w.Addresses[0]
		}
		n.Workloads = append(n.Workloads, w)
	}
}

// count adds what the datapath counted of a network.
func (d *Daemon) count(n *api.Network, planned plan.Network) error {
	kernel := d.datapath.Maps()
	rules, err := kernel.ReadRuleCounts()
	if err != nil {
		return err
	}
	for i, e := range planned.Policy.Entries {
		if e.Kind == policy.EntryOwn {
			continue // every network has it
		}
		action := spec.Deny
		if e.Allow {
			action = spec.Allow
		}
		n.Rules = append(n.Rules, &api.Rule{
			Entry: e.Key(), Text: e.Text, Action: string(action), Kind: string(e.Kind), Place: e.Pos.String(),
			Flows: rules[maps.RuleKey{Network: planned.ID, Entry: uint32(i)}].Flows,
		})
	}
	traffic, err := kernel.ReadTraffic()
	if err != nil {
		return err
	}
	t := traffic[planned.ID]
	n.Traffic = &api.Traffic{
		SentPackets: t.Egress.Packets, SentBytes: t.Egress.Bytes,
		ReceivedPackets: t.Ingress.Packets, ReceivedBytes: t.Ingress.Bytes,
	}
	drops, err := kernel.ReadDrops()
	n.Drops = dropList(dropsOf(drops, planned.ID))
	return err
}

// dropList gives drops, the most frequent first.
func dropList(all map[maps.DropReason]maps.Counter) []*api.Drop {
	list := make([]*api.Drop, 0, len(all))
	for reason, count := range all {
		list = append(list, &api.Drop{Reason: reason.String(), Packets: count.Packets, Bytes: count.Bytes})
	}
	slices.SortFunc(list, func(a, b *api.Drop) int {
		return cmp.Or(cmp.Compare(b.Packets, a.Packets), cmp.Compare(a.Reason, b.Reason))
	})
	return list
}

func portTexts(ports []spec.Ports) []string {
	texts := make([]string, len(ports))
	for i, p := range ports {
		texts[i] = p.String()
	}
	return texts
}

// message puts a workload into the API's words. A VM's address is the first
// global one that it took.
func (v view) message(w plan.Workload) *api.Workload {
	m := &api.Workload{
		Name: w.Name, Service: w.Service, Node: v.node, Interface: w.Interface, Network: w.Network,
		Kind: string(w.Kind), Mac: net.HardwareAddr(w.MAC[:]).String(),
	}
	if w.Kind != plan.WorkloadTap {
		m.Namespace, m.Address = w.NetnsPath, w.Address.String()
	}
	for _, b := range v.state.Bindings {
		if b.NetworkID != w.NetworkID || b.Workload != w.ID {
			continue
		}
		m.Addresses = append(m.Addresses, b.Address.String())
		if m.Address == "" && !b.Address.IsLinkLocalUnicast() {
			m.Address = b.Address.String()
		}
	}
	return m
}
