package plan

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/policy"
	"github.com/zosnet/zosnet/pkg/spec"
	"github.com/zosnet/zosnet/pkg/wireguard"
)

// networkInput is what the state of one network on this node follows from: an Input
// that has nothing of other networks, and of the node only what concerns a network.
type networkInput struct {
	Input

	// services of other networks that its rules name, by network: also of those that do
	// not span this node.
	services map[string]map[string]uint32
}

func (in networkInput) record() Record { return in.Networks[0] }

// ofNetworks gives what of a node.yaml concerns networks.
func ofNetworks(n *spec.Node) *spec.Node {
	return &spec.Node{Name: n.Name, Endpoint: n.Endpoint, Prefixes: n.Prefixes, DNS: n.DNS}
}

// byNetwork splits the input by the networks that span this node, by name.
func (in Input) byNetwork() []networkInput {
	records := make(map[string]Record, len(in.Networks))
	var names []string
	for _, r := range in.Networks {
		records[r.Document.Name] = r
		if r.Document.CarriedBy(in.Node.Name) {
			names = append(names, r.Document.Name)
		}
	}
	slices.Sort(names)
	list, of := make([]networkInput, len(names)), make(map[string]*networkInput, len(names))
	node := ofNetworks(in.Node)
	for i, name := range names {
		r := records[name]
		list[i] = networkInput{Input{Node: node, MTU: in.MTU, Networks: []Record{r}}, namedServices(r.Document, records)}
		carriers := len(r.Document.Carriers())
		list[i].Nodes, list[i].Parts = make([]Node, 0, carriers), make([]Part, 0, carriers)
		of[name] = &list[i]
	}
	split(in.Attachments, of, func(a Attachment) string { return a.Network }, func(n *networkInput) *[]Attachment { return &n.Attachments })
	split(in.Learned, of, func(l Learned) string { return l.Network }, func(n *networkInput) *[]Learned { return &n.Learned })
	split(in.Entrances, of, func(e EntranceKey) string { return e.Network }, func(n *networkInput) *[]EntranceKey { return &n.Entrances })
	split(in.Parts, of, func(p Part) string { return p.Network }, func(n *networkInput) *[]Part { return &n.Parts })
	split(in.Remote, of, func(r Remote) string { return r.Network }, func(n *networkInput) *[]Remote { return &n.Remote })
	in.splitNodes(list)
	in.splitSessions(list)
	return list
}

// split gives each network its own of a list.
func split[T any](list []T, of map[string]*networkInput, network func(T) string, into func(*networkInput) *[]T) {
	for _, t := range list {
		if n := of[network(t)]; n != nil {
			own := into(n)
			*own = append(*own, t)
		}
	}
}

// splitNodes gives each network the nodes that its document names.
func (in Input) splitNodes(list []networkInput) {
	nodes := make(map[string]Node, len(in.Nodes))
	for _, n := range in.Nodes {
		nodes[n.Name] = n
	}
	for i := range list {
		for _, name := range list[i].record().Document.Carriers() {
			if n, known := nodes[name]; known {
				list[i].Nodes = append(list[i].Nodes, n)
			}
		}
	}
}

// splitSessions gives each network the sessions of its overlays.
func (in Input) splitSessions(list []networkInput) {
	if len(in.Sessions) == 0 {
		return
	}
	of := map[string][]Session{}
	for _, is := range in.Sessions {
		of[is.Interface] = append(of[is.Interface], is)
	}
	for i := range list {
		for _, device := range list[i].devices() {
			list[i].Sessions = append(list[i].Sessions, of[device]...)
		}
	}
}

// devices gives the interfaces of the overlays that the network has here.
func (in networkInput) devices() (names []string) {
	add := func(p Part, g wireguard.Generation) {
		names = append(names, overlayIdentity(p.Node, p.Network, g).interfaceName(overlayKind, p.Network))
	}
	for _, p := range in.Parts {
		if p.Node != in.Node.Name {
			continue
		}
		add(p, p.Generation)
		if p.Next != nil {
			add(p, p.Next.Generation)
		}
	}
	return names
}

// namedServices gives the services of other networks that a document's rules name.
func namedServices(document *spec.Network, records map[string]Record) map[string]map[string]uint32 {
	services := map[string]map[string]uint32{}
	for _, rule := range document.Rules {
		for _, selectors := range [][]spec.Selector{rule.From, rule.To} {
			for i := range selectors {
				network := selectors[i].Network // only of those that name another's service
				if r, known := records[network]; known && network != document.Name {
					services[network] = r.Services
				}
			}
		}
	}
	return services
}

// compute gives the state of the network alone. Its room for flows depends on how many
// there are, and is not in it.
func (in networkInput) compute() (State, error) {
	network, err := in.network()
	if err != nil {
		return State{}, err
	}
	s := State{Node: in.Node.Name, Networks: []Network{network}}
	if s.Workloads, err = in.workloads(network); err != nil {
		return State{}, err
	}
	overlays, behind, ignored := in.overlays(s.Networks)
	s.Overlays, s.Ignored = overlays, ignored
	in.addAccess(&s, behind)
	s.Workloads = in.withResolvers(s)
	remote := slices.Concat(in.remoteBindings(s.Overlays, behind), deviceBindings(s.Devices))
	s.Bindings = bindings(s.Networks, s.Workloads, in.Learned, remote)
	s.Resolvers = in.resolvers(s, behind)
	return s, nil
}

func (in networkInput) network() (Network, error) {
	r := in.record()
	name := r.Document.Name
	program, err := in.program()
	if err != nil {
		return Network{}, fmt.Errorf("network %s: %w", name, err)
	}
	id := bridgeIdentity(in.Node.Name, name)
	return Network{
		Name: name, ID: r.ID, Prefix: r.Prefix, Gateway: ipam.Gateway(r.Prefix),
		Bridge: id.interfaceName(bridgeKind, name), BridgeMAC: id.mac(), MTU: in.mtu(),
		AdvertiseRA: slices.ContainsFunc(in.Attachments, func(a Attachment) bool { return a.Kind == WorkloadTap }), Policy: program,
	}, nil
}

// program compiles the network's rules. They can name services of every network that
// the registry knows.
func (in networkInput) program() (policy.Program, error) {
	r := in.record()
	return policy.Compile(r.Document, policy.IDs{
		Network: r.ID, Resolver: resolverService(r.ID), Services: r.Services, Access: r.Access, Peer: in.services,
	})
}

// workloads gives those of the network, by name.
func (in networkInput) workloads(n Network) ([]Workload, error) {
	var list []Workload
	var errs []error
	for _, a := range in.Attachments {
		w, err := in.workload(n, a)
		list, errs = append(list, w), append(errs, err)
	}
	slices.SortFunc(list, func(a, b Workload) int { return cmp.Compare(a.Name, b.Name) })
	return list, errors.Join(errs...)
}

func (in networkInput) workload(n Network, a Attachment) (Workload, error) {
	service, known := in.record().Services[a.Service]
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
