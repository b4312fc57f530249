package plan

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/policy"
	"github.com/zosnet/zosnet/pkg/resolver"
)

// ResolverHost is the host number of a network's resolver: PREFIX::53.
const ResolverHost = 0x53

// Resolver is the resolver of a network that has workloads here. Its namespace is
// among the State's Workloads, as one of policy.ResolverService.
type Resolver struct {
	Network   string
	NetnsPath string
	Address   netip.Addr   // PREFIX::53
	Zone      string       // what it answers, as resolver.Network.Zone gives it
	Servers   []netip.Addr // that other questions go to

	// Namespaces are the pause namespaces of the network here, by the name that
	// ip-netns(8) has for them.
	Namespaces []string
}

// Domain is what the network's names end in.
func (n Network) Domain() string { return n.Name + "." + resolver.Domain }

// resolverService is the service id of a network's resolver: above all that a
// registry gives out, which counts up from 1.
func resolverService(network uint32) uint32 { return 1<<31 | network }

// IsResolver tells whether a workload is a network's own resolver.
func (w Workload) IsResolver() bool { return w.Service == policy.ResolverService }

// resolverWorkload is the resolver of a network as the datapath sees it. Its
// namespace is named for the node, too: every node of the network has one.
func (in Input) resolverWorkload(n Network) Workload {
	const name = policy.ResolverService
	id := workloadIdentity(in.Node.Name, n.Name, name)
	return Workload{
		Network: n.Name, NetworkID: n.ID, Service: policy.ResolverService, ServiceID: resolverService(n.ID),
		Name: name, ID: ResolverHost, Kind: WorkloadNetns, NetnsPath: "/run/netns/" + n.Name + "." + name + "." + in.Node.Name,
		Interface: id.interfaceName(workloadKind, name), MAC: id.mac(), Address: ipam.Address(n.Prefix, ResolverHost),
		LinkLocal: linkLocal(id.mac()), Bridge: n.Bridge, Gateway: linkLocalGateway, MTU: n.MTU,
	}
}

// withResolvers adds a resolver to each network that has a workload here, or whose
// access ends here: elsewhere nobody could ask it.
func (in Input) withResolvers(s State) []Workload {
	list := slices.Clone(s.Workloads)
	for i, n := range s.Networks {
		if slices.ContainsFunc(s.Workloads, func(w Workload) bool { return w.Network == n.Name }) ||
			slices.ContainsFunc(s.Entrances, func(e Entrance) bool { return e.Network == n.Name }) {
			w := in.resolverWorkload(n)
			list, s.Networks[i].Resolver = append(list, w), w.Address
		}
	}
	slices.SortFunc(list, func(a, b Workload) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.Name, b.Name))
	})
	return list
}

// resolvers gives what the networks' resolvers answer, by network.
func (in Input) resolvers(s State, behind map[place]netip.Prefix) []Resolver {
	names := in.names(s, behind)
	var list []Resolver
	namespaces := map[string][]string{}
	for _, w := range s.Workloads {
		if w.Kind == WorkloadNetns && !w.IsResolver() {
			namespaces[w.Network] = append(namespaces[w.Network], w.Network+"."+w.Name)
		}
	}
	for _, w := range s.Workloads {
		if w.IsResolver() {
			n := names[w.Network]
			n.Resolver = w.Address
			list = append(list, Resolver{
				Network: w.Network, NetnsPath: w.NetnsPath, Address: w.Address,
				Zone: string(n.Zone()), Servers: in.Node.DNS, Namespaces: namespaces[w.Network],
			})
		}
	}
	return list
}

// names gives what the networks' names follow from: their workloads here, and those
// behind their overlays.
func (in Input) names(s State, behind map[place]netip.Prefix) map[string]*resolver.Network {
	all := map[string]*resolver.Network{}
	for _, n := range s.Networks {
		all[n.Name] = &resolver.Network{Name: n.Name, Prefixes: map[string]netip.Prefix{in.Node.Name: n.Prefix}}
	}
	for at, prefix := range behind {
		all[at.network].Prefixes[at.node] = prefix
	}
	for _, r := range in.Networks {
		if n := all[r.Document.Name]; n != nil {
			for _, service := range r.Document.Services {
				n.Services = append(n.Services, service.Name)
			}
		}
	}
	addresses := s.addresses()
	for _, w := range s.Workloads {
		if !w.IsResolver() {
			all[w.Network].Workloads = append(all[w.Network].Workloads, resolver.Workload{
				Name: w.Name, Service: w.Service, Node: in.Node.Name, Addresses: addresses[endpoint{w.NetworkID, w.ID}], Healthy: true,
			})
		}
	}
	in.addRemoteNames(all)
	return all
}

// addRemoteNames adds the workloads behind the overlays. A node can only say where
// its own /64 is: what is elsewhere, or is called like a service or like what is
// here, is left out.
func (in Input) addRemoteNames(all map[string]*resolver.Network) {
	type named struct{ network, name string }
	taken := map[named]bool{}
	for _, n := range all {
		for _, service := range n.Services {
			taken[named{n.Name, service}] = true
		}
		for _, w := range n.Workloads {
			taken[named{n.Name, w.Name}] = true
		}
	}
	silent := map[string]bool{}
	for _, node := range in.Nodes {
		silent[node.Name] = node.Silent
	}
	sorted := slices.SortedFunc(slices.Values(in.Remote), func(a, b Remote) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Node, b.Node))
	})
	for _, r := range sorted {
		n := all[r.Network]
		if n == nil || !n.Prefixes[r.Node].IsValid() || taken[named{r.Network, r.Name}] || !slices.Contains(n.Services, r.Service) {
			continue
		}
		taken[named{r.Network, r.Name}] = true
		elsewhere := func(a netip.Addr) bool { return !n.Prefixes[r.Node].Contains(a) }
		n.Workloads = append(n.Workloads, resolver.Workload{
			Name: r.Name, Service: r.Service, Node: r.Node, Healthy: !silent[r.Node],
			Addresses: slices.DeleteFunc(slices.Clone(r.Addresses), elsewhere),
		})
	}
}

// endpoint is a workload of this node by its numbers.
type endpoint struct{ network, workload uint32 }

// addresses gives the workloads' own, planned and learned.
func (s State) addresses() map[endpoint][]netip.Addr {
	list := map[endpoint][]netip.Addr{}
	for _, b := range s.Bindings {
		if e := (endpoint{b.NetworkID, b.Workload}); !b.Remote && !b.Address.IsLinkLocalUnicast() {
			list[e] = append(list[e], b.Address)
		}
	}
	return list
}
