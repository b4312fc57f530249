package daemon

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
	"github.com/zosnet/zosnet/pkg/spec"
	"github.com/zosnet/zosnet/pkg/wireguard"
)

// publisher tells the grid what this node carries. What is published already costs
// nothing.
type publisher struct {
	client *gridstore.Client
	node   *spec.Node
	snap   gridstore.Snapshot
	local  registry.Snapshot
	sends  map[string][]string // by network: the nodes to which this one sends over its next device
	lost   map[string][]string // by network: the nodes that it does not hear, and reaches through the exit

	entrances []plan.EntranceKey
	failed    map[string]bool // networks of which not all is enforced: what was published of them stays
}

// publish brings what the grid knows of this node to what it carries. An error does
// not keep the rest from being published.
func (p publisher) publish(ctx context.Context, parts []plan.Part) error {
	var errs []error
	carried := map[string]bool{}
	for _, part := range parts {
		if p.snap.Networks[part.Network] == nil {
			continue // its owner has just taken it away
		}
		if carried[part.Network] = true; p.failed[part.Network] {
			continue
		}
		errs = append(errs, p.publishPart(ctx, part), p.publishWorkloads(ctx, part))
	}
	for _, network := range sortedNetworks(p.snap) {
		if network.Parts[p.node.Name] != nil && !carried[network.Name] {
			errs = append(errs, p.client.DeletePart(ctx, network.Name))
		}
	}
	return errors.Join(errs...)
}

func (p publisher) publishPart(ctx context.Context, part plan.Part) error {
	want := p.partOf(part)
	for _, e := range p.entrances {
		if e.Network == part.Network {
			want.EntranceKey, want.EntrancePort = wireguard.PublicKey(e.PublicKey).String(), e.Port
		}
	}
	if have := p.snap.Networks[part.Network].Parts[p.node.Name]; have != nil && p.snap.Source == gridstore.SourceCluster && samePart(*have, want) {
		return nil
	}
	return p.client.PutPart(ctx, part.Network, want)
}

// partOf gives what the grid is told of a part.
func (p publisher) partOf(part plan.Part) gridstore.Part {
	g := gridstore.Part{
		Prefix: part.Prefix, PublicKey: wireguard.PublicKey(part.PublicKey).String(), Port: part.Port,
		Generation: uint32(part.Generation), Sends: p.sends[part.Network], Hidden: !p.node.Endpoint.IsValid(),
		Unheard: p.lost[part.Network],
	}
	if next := part.Next; next != nil {
		g.Next = &gridstore.Successor{Generation: uint32(next.Generation), PublicKey: wireguard.PublicKey(next.PublicKey).String(), Port: next.Port}
	}
	for _, b := range p.local.Blocks {
		if b.Block.Contains(part.Prefix.Addr()) {
			g.Block, g.Holder = b.Block, b.Holder
		}
	}
	return g
}

func samePart(a, b gridstore.Part) bool {
	if a.Next == nil || b.Next == nil {
		if a.Next != b.Next {
			return false
		}
	} else if *a.Next != *b.Next {
		return false
	}
	return a.Prefix == b.Prefix && a.PublicKey == b.PublicKey && a.Port == b.Port && a.Generation == b.Generation &&
		a.EntranceKey == b.EntranceKey && a.EntrancePort == b.EntrancePort &&
		slices.Equal(a.Sends, b.Sends) && slices.Equal(a.Unheard, b.Unheard) && a.Hidden == b.Hidden && a.Block == b.Block && a.Holder == b.Holder
}

// publishWorkloads publishes this node's workloads of a network with their learned
// addresses, and takes back what is gone.
func (p publisher) publishWorkloads(ctx context.Context, part plan.Part) error {
	network := p.snap.Networks[part.Network]
	have, known := network.Attachments[part.Node], network.Bindings[part.Node]
	var errs []error
	attached := map[string]bool{}
	for _, a := range p.local.Attachments {
		if a.Network != part.Network {
			continue
		}
		attached[a.Name] = true
		want := attachmentFor(a, part.Prefix)
		if !slices.ContainsFunc(have, func(h gridstore.Attachment) bool {
			return h.Workload == want.Workload && h.Service == want.Service && h.Kind == want.Kind && h.Host == want.Host && h.Address == want.Address
		}) {
			errs = append(errs, p.client.PutAttachment(ctx, part.Network, want))
		}
	}
	for _, h := range have {
		if !attached[h.Workload] {
			errs = append(errs, p.client.DeleteAttachment(ctx, part.Network, h.Workload))
		}
	}
	return errors.Join(append(errs, p.publishBindings(ctx, part.Network, known, attached))...)
}

func (p publisher) publishBindings(ctx context.Context, network string, have []gridstore.Binding, attached map[string]bool) error {
	var fresh []gridstore.Binding
	bound := map[netip.Addr]bool{}
	for _, b := range p.local.Bindings {
		if b.Network != network || b.Address.IsLinkLocalUnicast() {
			continue
		}
		bound[b.Address] = true
		if !slices.ContainsFunc(have, func(h gridstore.Binding) bool { return h.Address == b.Address && h.Workload == b.Workload }) {
			fresh = append(fresh, gridstore.Binding{Workload: b.Workload, Address: b.Address, Learned: b.Learned})
		}
	}
	var errs []error
	if len(fresh) > 0 {
		errs = append(errs, p.client.PutBindings(ctx, network, fresh))
	}
	for _, h := range have {
		if !bound[h.Address] && attached[h.Workload] {
			errs = append(errs, p.client.DeleteBinding(ctx, network, h.Workload, h.Address))
		}
	}
	return errors.Join(errs...)
}

// attachmentFor gives what the grid is told of a workload. A VM's addresses are its
// bindings.
func attachmentFor(a registry.Attachment, prefix netip.Prefix) gridstore.Attachment {
	g := gridstore.Attachment{Workload: a.Name, Service: a.Service, Kind: string(a.Kind), Host: a.Host}
	if a.Kind != registry.AttachmentTap {
		g.Address = ipam.Address(prefix, a.Host)
	}
	return g
}

// publishNextHop says in this node's record where an upstream sends what is for its
// blocks. It may have no such place.
func (d *Daemon) publishNextHop(ctx context.Context, p publisher) error {
	self := p.snap.Nodes[p.node.Name]
	if self == nil || self.Record == nil {
		return nil
	}
	hop, err := d.space.NextHop(p.local)
	if err != nil {
		hop = netip.Addr{}
	}
	if self.Record.NextHop == hop {
		return nil
	}
	record := *self.Record
	record.NextHop = hop
	return p.client.PutRecord(ctx, record)
}
