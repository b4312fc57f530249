package plan

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"

	"github.com/zosnet/zosnet/pkg/spec"
	"github.com/zosnet/zosnet/pkg/wireguard"
)

// EntranceKey is what this node keeps of a network's entrance: all but the private key.
type EntranceKey struct {
	Network   string
	PublicKey [32]byte
	Port      uint16 // that it listens on
}

// Entrance is the WireGuard interface by which people's devices come into a network
// here. It is not the overlay's: its key and port stand in people's configurations,
// and stay when nodes change theirs. Its peers are the Devices that end here.
type Entrance struct {
	Network   string
	NetworkID uint32
	Interface string // at most 15 bytes
	PublicKey [32]byte
	Port      uint16 // UDP, opened in the lockdown
	MTU       uint16 // bytes, IP packet inside
}

// Device is an access device of a network on this node, wherever it ends.
type Device struct {
	Network   string
	NetworkID uint32
	ID        uint32 // among the services'
	Name      string
	Node      string // where it ends
	PublicKey [32]byte
	Address   netip.Addr // in the network's /64 at Node
	Interface string     // of the entrance, or of the overlay that leads to Node
}

// AccessEnd gives the node where an access device of a network ends: the one that it
// names, else the network's exit, else the first of its nodes that can be reached.
// The reason says why there is none.
func AccessEnd(n *spec.Network, a spec.Access, reachable func(node string) bool) (node, reason string) {
	if a.At != "" {
		if !reachable(a.At) {
			return "", fmt.Sprintf("node %s, where it should end, has no endpoint", a.At)
		}
		return a.At, ""
	}
	for _, node := range append([]string{n.Exit}, n.Nodes...) {
		if node != "" && reachable(node) {
			return node, ""
		}
	}
	return "", "no node of the network has an endpoint in its node.yaml"
}

// AccessAddress gives the address of an access device in a /64. Its host part follows
// from network and key alone, and lies outside what workloads have: theirs is a number
// of 32 bits.
func AccessAddress(prefix netip.Prefix, network string, key [32]byte) netip.Addr {
	sum := sha256.Sum256(append([]byte("access "+network+"/"), key[:]...))
	raw := prefix.Masked().Addr().As16()
	copy(raw[8:], sum[:8])
	raw[8] |= 0x80
	return netip.AddrFrom16(raw)
}

// Reachable tells whether peers reach a node, as far as this one knows.
func (in Input) Reachable(node string) bool {
	if node == in.Node.Name {
		return in.Node.Endpoint.IsValid()
	}
	return slices.ContainsFunc(in.Nodes, func(n Node) bool { return n.Name == node && n.Endpoint.IsValid() })
}

// addAccess gives a state the access devices of its networks, and entrances for those
// that end here.
func (in Input) addAccess(s *State, behind map[place]netip.Prefix) {
	records := make(map[string]Record, len(in.Networks))
	for _, r := range in.Networks {
		records[r.Document.Name] = r
	}
	for i := range s.Networks {
		n := &s.Networks[i]
		r := records[n.Name]
		if len(r.Document.Access) == 0 {
			continue
		}
		ways := in.waysTo(*s, *n, behind)
		for _, a := range r.Document.Access {
			d, reason := in.device(ways, r, a)
			if reason == "" {
				reason = in.clash(n.Name, d)
			}
			if reason != "" {
				s.Ignored = append(s.Ignored, Ignored{"access device " + n.Name + "/" + a.Name, reason})
				continue
			}
			s.Devices = append(s.Devices, d)
			if d.Node == in.Node.Name {
				n.Proxied = append(n.Proxied, d.Address)
			}
		}
		if len(n.Proxied) > 0 {
			slices.SortFunc(n.Proxied, netip.Addr.Compare)
			s.Entrances = append(s.Entrances, in.entrance(*n))
			for j := range s.Overlays { // other nodes' workloads answer its devices through this one
				s.Overlays[j].Relay = s.Overlays[j].Relay || s.Overlays[j].Network == n.Name
			}
		}
	}
	slices.SortFunc(s.Devices, func(a, b Device) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.Name, b.Name))
	})
}

// way leads to the devices that end at a node: into its /64, out of an interface.
type way struct {
	prefix netip.Prefix
	device string
}

// waysTo gives the ways to where a network's devices may end, by node.
func (in Input) waysTo(s State, n Network, behind map[place]netip.Prefix) map[string]way {
	ways := map[string]way{}
	if slices.ContainsFunc(in.Entrances, func(e EntranceKey) bool { return e.Network == n.Name }) {
		ways[in.Node.Name] = way{n.Prefix, entranceName(in.Node.Name, n.Name)}
	}
	for _, o := range s.Overlays {
		if o.Network != n.Name {
			continue
		}
		for at, prefix := range behind {
			carries := func(p Peer) bool { return !p.Standby && slices.Contains(p.AllowedIPs, prefix) }
			if at.network == n.Name && slices.ContainsFunc(o.Peers, carries) {
				ways[at.node] = way{prefix, o.Interface}
			}
		}
	}
	return ways
}

func (in Input) device(ways map[string]way, r Record, a spec.Access) (d Device, reason string) {
	node, reason := AccessEnd(r.Document, a, in.Reachable)
	if reason != "" {
		return d, reason
	}
	to, known := ways[node]
	if !known {
		return d, fmt.Sprintf("node %s, where it ends, has no part of the network yet", node)
	}
	key, err := wireguard.ParsePublicKey(a.PublicKey)
	if err != nil {
		return d, "its public key is none that a device can have"
	}
	return Device{
		Network: r.Document.Name, NetworkID: r.ID, ID: r.Access[a.Name], Name: a.Name, Node: node,
		PublicKey: key, Address: AccessAddress(to.prefix, r.Document.Name, key), Interface: to.device,
	}, ""
}

// clash says who else has a device's address or key; empty: nobody. A node can only say
// so of its own /64.
func (in Input) clash(network string, d Device) string {
	for _, l := range in.Learned {
		if l.Network == network && l.Address == d.Address {
			return fmt.Sprintf("the VM %s has its address %s", l.Workload, l.Address)
		}
	}
	for _, r := range in.Remote {
		if r.Network == network && r.Node == d.Node && slices.Contains(r.Addresses, d.Address) {
			return fmt.Sprintf("workload %s has its address %s", r.Name, d.Address)
		}
	}
	for _, own := range in.Entrances {
		if own.Network == network && own.PublicKey == d.PublicKey {
			return "its public key is this node's"
		}
	}
	return ""
}

func (in Input) entrance(n Network) Entrance {
	i := slices.IndexFunc(in.Entrances, func(e EntranceKey) bool { return e.Network == n.Name })
	own := in.Entrances[i]
	return Entrance{
		Network: n.Name, NetworkID: n.ID, Interface: entranceName(in.Node.Name, n.Name), PublicKey: own.PublicKey, Port: own.Port,
		MTU: uint16(wireguard.MTU(wireguard.Path{IPv6: true, MTU: int(in.mtu())})), // a device may come over either family
	}
}

func entranceName(node, network string) string {
	return bridgeIdentity(node, network).interfaceName(entranceKind, network)
}

// deviceBindings gives the devices' addresses.
func deviceBindings(devices []Device) []Binding {
	var list []Binding
	for _, d := range devices {
		list = append(list, Binding{
			Address: d.Address, NetworkID: d.NetworkID, ServiceID: d.ID, Interface: d.Interface, Remote: true, Device: true,
		})
	}
	return list
}
