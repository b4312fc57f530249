package daemon

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/policy"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
	"github.com/zosnet/zosnet/pkg/spec"
	"github.com/zosnet/zosnet/pkg/wireguard"
)

// ListAccess implements the API.
func (d *Daemon) ListAccess(ctx context.Context, r *api.ListAccessRequest) (*api.ListAccessResponse, error) {
	snap, err := d.store.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	if _, ok := snap.Network(r.Network); !ok && r.Network != "" {
		return nil, &registry.NotFoundError{Kind: "network", Name: r.Network}
	}
	response := &api.ListAccessResponse{}
	for _, record := range snap.Networks {
		if r.Network != "" && record.Name != r.Network {
			continue
		}
		document, err := d.documents.network(record)
		if err != nil {
			return nil, err
		}
		v := d.current()
		heard := d.heard(v, document.Name)
		for _, a := range document.Access {
			m := d.accessDevice(v, document, a)
			m.LastHandshake = heard[a.PublicKey]
			d.configurations.compare(m)
			response.Devices = append(response.Devices, m)
		}
	}
	return response, nil
}

// ShowAccess implements the API.
func (d *Daemon) ShowAccess(ctx context.Context, r *api.ShowAccessRequest) (*api.AccessDevice, error) {
	document, a, err := d.storedDevice(ctx, r.Network, r.Name)
	if err != nil {
		return nil, err
	}
	v := d.current()
	m := d.accessDevice(v, document, a)
	m.LastHandshake = d.heard(v, document.Name)[a.PublicKey]
	d.configurations.compare(m)
	return m, nil
}

// storedDevice gives an access device of a network that this node has.
func (d *Daemon) storedDevice(ctx context.Context, network, name string) (*spec.Network, spec.Access, error) {
	snap, err := d.store.Snapshot(ctx)
	if err != nil {
		return nil, spec.Access{}, err
	}
	record, ok := snap.Network(network)
	if !ok {
		return nil, spec.Access{}, &registry.NotFoundError{Kind: "network", Name: network}
	}
	document, err := d.documents.network(record)
	if err != nil {
		return nil, spec.Access{}, err
	}
	a, ok := document.Device(name)
	if !ok {
		return nil, spec.Access{}, &registry.NotFoundError{Kind: "access device", Network: network, Name: name}
	}
	return document, a, nil
}

// accessDevice gives what is known of a device and of where it joins.
func (d *Daemon) accessDevice(v view, document *spec.Network, a spec.Access) *api.AccessDevice {
	m := &api.AccessDevice{Network: document.Name, Name: a.Name, PublicKey: a.PublicKey, Search: plan.Network{Name: document.Name}.Domain()}
	for _, s := range a.Allow {
		m.Allow = append(m.Allow, s.Name)
	}
	for _, device := range v.state.Devices {
		if device.Network == document.Name && device.Name == a.Name && wireguard.PublicKey(device.PublicKey).String() == a.PublicKey {
			m.At, m.Address = device.Node, device.Address.String()
			resolver := ipam.Address(netip.PrefixFrom(device.Address, ipam.NetworkBits), plan.ResolverHost)
			m.Dns = []string{resolver.String()}
		}
	}
	m.AllowedIps = v.prefixesOf(document.Name)
	if d.inGrid() { // else nobody will say
		m.Unknown = v.withoutPrefix(document, m.AllowedIps)
	}
	if m.At == "" {
		m.Problem = v.ignoredReason("access device "+document.Name+"/"+a.Name, "this node has not taken the document over yet")
		return m
	}
	d.describeEntrance(v, m)
	return m
}

// prefixesOf gives a network's /64s on all nodes, as far as this one reaches them.
func (v view) prefixesOf(network string) (texts []string) {
	for _, n := range v.state.Networks {
		if n.Name == network {
			texts = append(texts, n.Prefix.String())
		}
	}
	for _, o := range v.state.Overlays {
		for _, p := range o.Peers {
			for _, prefix := range p.AllowedIPs {
				if text := prefix.String(); o.Network == network && !slices.Contains(texts, text) {
					texts = append(texts, text)
				}
			}
		}
	}
	return texts
}

// withoutPrefix gives the nodes of a network of which none of its prefixes is.
func (v view) withoutPrefix(document *spec.Network, prefixes []string) (nodes []string) {
	for _, node := range document.Carriers() {
		known := node == v.node || slices.ContainsFunc(v.input.Parts, func(p plan.Part) bool {
			return p.Network == document.Name && p.Node == node && slices.Contains(prefixes, p.Prefix.String())
		})
		if !known {
			nodes = append(nodes, node)
		}
	}
	return nodes
}

// ignoredReason says why the plan has left an object out.
func (v view) ignoredReason(object, otherwise string) string {
	for _, i := range v.state.Ignored {
		if i.Object == object {
			return i.Reason
		}
	}
	return otherwise
}

// describeEntrance says where a device dials: this node's entrance, or what another
// node has published of its own.
func (d *Daemon) describeEntrance(v view, m *api.AccessDevice) {
	m.Mtu = uint32(wireguard.MTU())
	endpoint, port := v.input.Node.Endpoint, uint16(0)
	if m.At == v.node {
		for _, e := range v.state.Entrances {
			if e.Network == m.Network {
				m.Peer, m.Mtu, port = wireguard.PublicKey(e.PublicKey).String(), uint32(e.MTU), e.Port
			}
		}
	} else if part, record := d.publishedBy(m.At, m.Network); part != nil && record != nil {
		m.Peer, port, endpoint = part.EntranceKey, part.EntrancePort, record.Endpoint
	}
	if m.Peer == "" || port == 0 || !endpoint.IsValid() {
		m.Problem = fmt.Sprintf("node %s, where it ends, has not said yet how it is reached", m.At)
		return
	}
	m.Endpoint = netip.AddrPortFrom(endpoint, port).String()
}

// heard gives when each device that ends here was heard last, as the API writes it, by
// public key. What cannot be read is left out.
func (d *Daemon) heard(v view, network string) map[string]string {
	times := map[string]string{}
	for _, e := range v.state.Entrances {
		if e.Network != network {
			continue
		}
		is, err := d.sessions.devices.Read(e.Interface)
		if err != nil {
			continue
		}
		for _, p := range is.Peers {
			if !p.LastHandshake.IsZero() {
				times[p.PublicKey.String()] = timeText(p.LastHandshake)
			}
		}
	}
	return times
}

func (d *Daemon) publishedBy(node, network string) (*gridstore.Part, *gridstore.Record) {
	if !d.inGrid() {
		return nil, nil
	}
	client := d.control.Known(context.Background())
	if client == nil {
		return nil, nil
	}
	snap := client.Snapshot()
	if snap.Networks[network] == nil || snap.Nodes[node] == nil {
		return nil, nil
	}
	return snap.Networks[network].Parts[node], snap.Nodes[node].Record
}

// GetDocument implements the API.
func (d *Daemon) GetDocument(ctx context.Context, r *api.GetDocumentRequest) (*api.Document, error) {
	own, err := d.ownNetwork(ctx, r.Network)
	if err != nil {
		return nil, err
	}
	if d.inGrid() && !own {
		client, err := d.openedRegistry(ctx)
		if err != nil {
			return nil, err
		}
		document, err := client.Document(ctx, r.Network)
		if err != nil {
			return nil, err
		}
		if document == nil || document.Released {
			return nil, &registry.NotFoundError{Kind: "network", Name: r.Network}
		}
		return &api.Document{File: document.File, Text: []byte(document.Text)}, nil
	}
	snap, err := d.store.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	record, ok := snap.Network(r.Network)
	if !ok {
		return nil, &registry.NotFoundError{Kind: "network", Name: r.Network}
	}
	return &api.Document{File: record.File, Text: record.Document}, nil
}

// addDevices tells the oracle of access devices, each behind an interface of its own
// number.
func (v view) addDevices(w *policy.World) {
	numbers := map[string]uint32{}
	for i, o := range v.state.Overlays {
		numbers[o.Interface] = uint32(len(v.state.Workloads) + i + 1)
	}
	for i, e := range v.state.Entrances {
		number := uint32(len(v.state.Workloads) + len(v.state.Overlays) + i + 1)
		numbers[e.Interface] = number
		w.Overlays = append(w.Overlays, policy.Overlay{Interface: number, Network: e.Network, MTU: int(e.MTU), Relay: true, Entrance: true})
	}
	for _, d := range v.state.Devices {
		w.Bindings = append(w.Bindings, policy.Binding{Address: d.Address, Network: d.Network, Access: d.Name, Interface: numbers[d.Interface]})
	}
}
