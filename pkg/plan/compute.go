package plan

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/spec"
)

const (
	ethernetMTU = 1500 // bytes
	minimumMTU  = 1280 // bytes; a link below carries no IPv6 (RFC 8200, 5)
)

// Compute gives the whole desired state of a node. Networks that do not span the
// node have no part in it, nor do their workloads. The error lists everything in
// the input that does not fit together.
func Compute(in Input) (State, error) {
	blocks, err := ipam.ParseBlocks(in.Node.Prefixes)
	if err != nil {
		return State{}, err
	}
	if err := in.check(); err != nil {
		return State{}, err
	}
	s := State{Node: in.Node.Name, Uplinks: slices.Sorted(slices.Values(in.Node.Uplinks))}
	if s.Networks, err = in.networks(); err != nil {
		return State{}, err
	}
	if s.Workloads, err = in.workloads(s.Networks); err != nil {
		return State{}, err
	}
	var behind map[place]netip.Prefix
	s.Overlays, behind, s.Ignored = in.overlays(s.Networks)
	in.addAccess(&s, behind)
	s.Workloads = in.withResolvers(s)
	s.Prefixes = prefixes(blocks, s.Networks)
	s.Lockdown, s.Trial = in.lockdown(openings(s.Overlays, s.Entrances))
	s.Bindings = bindings(s.Networks, s.Workloads, in.Learned, slices.Concat(in.remoteBindings(s.Overlays, behind), deviceBindings(s.Devices)))
	s.Resolvers = in.resolvers(s, behind)
	return s, checkInterfaces(&s)
}

// lockdown gives what is allowed for good, and a trial that is not over. A trial
// that was confirmed is for good. The overlays' openings are in both.
func (in Input) lockdown(overlays []spec.LockdownAllow) ([]spec.LockdownAllow, *Trial) {
	with := func(allow []spec.LockdownAllow) []spec.LockdownAllow {
		return slices.Concat(allow, overlays)
	}
	switch {
	case in.Trial == nil:
		return with(in.Node.Lockdown.Allow), nil
	case in.Trial.Deadline.IsZero():
		return with(in.Trial.Allow), nil
	}
	return with(in.Node.Lockdown.Allow), &Trial{Allow: with(in.Trial.Allow), Deadline: in.Trial.Deadline}
}

// networks gives those that span this node, by name.
func (in Input) networks() ([]Network, error) {
	var list []Network
	var errs []error
	taps := map[string]bool{}
	for _, a := range in.Attachments {
		taps[a.Network] = taps[a.Network] || a.Kind == WorkloadTap
	}
	for _, r := range in.Networks {
		name := r.Document.Name
		if !r.Document.CarriedBy(in.Node.Name) {
			continue
		}
		program, err := in.program(r)
		if err != nil {
			errs = append(errs, fmt.Errorf("network %s: %w", name, err))
		}
		id := bridgeIdentity(in.Node.Name, name)
		list = append(list, Network{
			Name: name, ID: r.ID, Prefix: r.Prefix, Gateway: ipam.Gateway(r.Prefix),
			Bridge: id.interfaceName(bridgeKind, name), BridgeMAC: id.mac(), MTU: in.mtu(),
			AdvertiseRA: taps[name], Policy: program,
		})
	}
	for i := range list {
		list[i].FlowSets = flowSets(in.FlowSets, in.FlowShares, uint32(len(list)))
	}
	slices.SortFunc(list, func(a, b Network) int { return cmp.Compare(a.Name, b.Name) })
	return list, errors.Join(errs...)
}

func (in Input) mtu() uint16 {
	return max(cmp.Or(in.MTU, ethernetMTU), minimumMTU)
}

// workloads gives those of the networks, by network and name.
func (in Input) workloads(networks []Network) ([]Workload, error) {
	records := make(map[string]Record, len(in.Networks))
	for _, r := range in.Networks {
		records[r.Document.Name] = r
	}
	here := make(map[string]Network, len(networks))
	for _, n := range networks {
		here[n.Name] = n
	}
	var list []Workload
	var errs []error
	for _, a := range in.Attachments {
		record, known := records[a.Network]
		network, spans := here[a.Network]
		switch {
		case !known:
			errs = append(errs, fmt.Errorf("workload %s/%s: there is no such network", a.Network, a.Name))
		case spans:
			w, err := in.workload(network, record, a)
			errs = append(errs, err)
			list = append(list, w)
		}
	}
	slices.SortFunc(list, func(a, b Workload) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.Name, b.Name))
	})
	return list, errors.Join(errs...)
}

func (in Input) workload(n Network, r Record, a Attachment) (Workload, error) {
	service, known := r.Services[a.Service]
	if !known {
		return Workload{}, fmt.Errorf("workload %s/%s: its network has no service %s", a.Network, a.Name, a.Service)
	}
	id := workloadIdentity(in.Node.Name, a.Network, a.Name)
	w := Workload{
		Network: n.Name, NetworkID: n.ID, Service: a.Service, ServiceID: service, Name: a.Name, ID: a.Host,
		Kind: a.Kind, NetnsPath: a.NetnsPath, Interface: id.interfaceName(workloadKind, a.Name), MAC: id.mac(),
		Address: workloadAddress(n, a), LinkLocal: linkLocal(id.mac()), Bridge: n.Bridge,
		Gateway: linkLocalGateway, MTU: n.MTU,
	}
	switch a.Kind {
	case WorkloadNetns:
		w.NetnsPath = "/run/netns/" + a.Network + "." + a.Name
	case WorkloadPath:
	case WorkloadTap:
		w.Interface = a.TapName
	default:
		return Workload{}, fmt.Errorf("workload %s/%s: its kind %q is none of netns, path and tap", a.Network, a.Name, a.Kind)
	}
	return w, nil
}
