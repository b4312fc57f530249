package plan

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/spec"
	"github.com/zosnet/zosnet/pkg/wireguard"
)

// keepalive is how often a peer behind NAT is heard, in seconds: less than the
// 30 s that RFC 4787, 4.3 lets a NAT forget a UDP mapping in practice.
const keepalive = 25

// place is a network on a node.
type place struct{ network, node string }

// overlays gives the overlay of each network that has a part here, by network, the
// /64s behind them, and what of other nodes' parts does not fit.
func (in Input) overlays(networks []Network) ([]Overlay, map[place]netip.Prefix, []Ignored) {
	var list []Overlay
	var ignored []Ignored
	behind := map[place]netip.Prefix{}
	nodes := make(map[string]Node, len(in.Nodes))
	for _, n := range in.Nodes {
		nodes[n.Name] = n
	}
	parts := map[string][]Part{}
	for _, p := range in.Parts {
		parts[p.Network] = append(parts[p.Network], p)
	}
	documents := make(map[string]*spec.Network, len(in.Networks))
	for _, r := range in.Networks {
		documents[r.Document.Name] = r.Document
	}
	sessions := in.sessions()
	for _, n := range networks {
		i := slices.IndexFunc(parts[n.Name], func(p Part) bool { return p.Node == in.Node.Name })
		if i < 0 {
			continue
		}
		own := parts[n.Name][i]
		o := Overlay{
			Network: n.Name, NetworkID: n.ID, PublicKey: own.PublicKey, Port: own.Port,
			Interface: overlayIdentity(in.Node.Name, n.Name, own.Generation).interfaceName(overlayKind, n.Name),
			Relay:     documents[n.Name].Exit == in.Node.Name,
		}
		var left []Ignored
		document := documents[n.Name]
		o.Peers, left = in.peers(document, parts[n.Name], nodes)
		for _, p := range o.Peers {
			behind[place{n.Name, p.Node}] = p.AllowedIPs[0]
		}
		ignored = append(ignored, left...)
		o.Peers, left = in.pathsOf(o, document.Exit, nodes, in.lost(own, parts[n.Name], sessions)).meet()
		for _, i := range left {
			delete(behind, place{n.Name, i.Object})
			ignored = append(ignored, Ignored{partObject(n.Name, i.Object), i.Reason})
		}
		o.MTU = overlayMTU(in.mtu(), o.Peers)
		both, unpaired := in.generations(o, own, parts[n.Name], sessions)
		list, ignored = append(list, both...), append(ignored, unpaired...)
	}
	slices.SortStableFunc(ignored, func(a, b Ignored) int { return cmp.Compare(a.Object, b.Object) })
	return list, behind, ignored
}

func partObject(network, node string) string {
	return fmt.Sprintf("network %s on node %s", network, node)
}

// pathsOf gives the ways to an overlay's peers. The others' endpoints are as their
// nodes say; this node's is of its own document.
func (in Input) pathsOf(o Overlay, exit string, nodes map[string]Node, lost func(Peer) bool) paths {
	return paths{
		node: in.Node.Name, exit: exit, peers: o.Peers,
		hidden: func(node string) bool {
			if node == in.Node.Name {
				return !in.Node.Endpoint.IsValid()
			}
			return !nodes[node].Endpoint.IsValid()
		},
		lost: lost,
	}
}

// peers gives the other nodes of a network, each with its /64, by name. What a node claims is checked
// against what was delegated to it: two nodes cannot have one /64, nor one node
// another's.
func (in Input) peers(document *spec.Network, parts []Part, nodes map[string]Node) (list []Peer, ignored []Ignored) {
	leave := func(p Part, reason string) {
		ignored = append(ignored, Ignored{partObject(p.Network, p.Node), reason})
	}
	claimed := map[netip.Prefix]int{}
	var fit []Part
	for _, p := range parts {
		if p.Node == in.Node.Name {
			continue
		}
		node, known := nodes[p.Node]
		if reason := in.misfit(document, p, node, known); reason != "" {
			leave(p, reason)
			continue
		}
		fit = append(fit, p)
		claimed[p.Prefix]++
	}
	for _, p := range fit {
		if claimed[p.Prefix] > 1 {
			leave(p, fmt.Sprintf("another node claims its prefix %s too", p.Prefix))
			continue
		}
		list = append(list, in.peer(p, nodes[p.Node]))
	}
	slices.SortFunc(list, func(a, b Peer) int { return cmp.Compare(a.Node, b.Node) })
	return list, ignored
}

// peer gives a node as this one would speak to it directly. Who is gone is not called
// any more: where it was, somebody else may be.
func (in Input) peer(p Part, node Node) Peer {
	peer := Peer{Node: p.Node, PublicKey: p.PublicKey, AllowedIPs: []netip.Prefix{p.Prefix}}
	if node.Gone {
		peer.Gone = true
		return peer
	}
	if node.Endpoint.IsValid() {
		peer.Endpoint = netip.AddrPortFrom(node.Endpoint, p.Port)
	}
	if !node.Endpoint.IsValid() || !in.Node.Endpoint.IsValid() || p.Unheard {
		peer.Keepalive = keepalive // the last: so that it shows whether it is heard here
	}
	return peer
}

// misfit says why another node's part of a network is left out; empty: it fits.
func (in Input) misfit(document *spec.Network, p Part, node Node, known bool) string {
	within := func(block netip.Prefix) bool {
		return block.Bits() <= p.Prefix.Bits() && block.Contains(p.Prefix.Addr())
	}
	switch {
	case !document.CarriedBy(p.Node):
		return "the network's document does not name that node"
	case !known:
		return "nothing is known of that node"
	case p.Prefix.Bits() != ipam.NetworkBits || p.Prefix != p.Prefix.Masked():
		return fmt.Sprintf("its prefix %s is no /%d", p.Prefix, ipam.NetworkBits)
	case !slices.ContainsFunc(node.Blocks, within):
		return fmt.Sprintf("its prefix %s is not in a block that was delegated to it", p.Prefix)
	case slices.ContainsFunc(in.Node.Prefixes, within):
		return fmt.Sprintf("its prefix %s is in a block of this node", p.Prefix)
	case p.PublicKey == [32]byte{}:
		return "it has no WireGuard key yet"
	case p.Port == 0:
		return "it has no listen port yet"
	}
	return ""
}

// overlayMTU gives what fits through the narrowest of the ways to the peers. A
// peer that dials may come over either family.
func overlayMTU(uplink uint16, peers []Peer) uint16 {
	var paths []wireguard.Path
	for _, p := range peers {
		paths = append(paths, wireguard.Path{IPv6: !p.Endpoint.IsValid() || p.Endpoint.Addr().Is6(), MTU: int(uplink)})
	}
	return uint16(wireguard.MTU(paths...))
}

// openings gives what the lockdown must let in for the overlays and entrances:
// WireGuard answers nobody who has no key of it.
func openings(overlays []Overlay, entrances []Entrance) []spec.LockdownAllow {
	var open []uint16
	for _, o := range overlays {
		open = append(open, o.Port)
	}
	for _, e := range entrances {
		open = append(open, e.Port)
	}
	list := make([]spec.LockdownAllow, 0, 2*len(open))
	for _, number := range open {
		port := []spec.Ports{{Proto: spec.ProtoUDP, First: number, Last: number}}
		list = append(list,
			spec.LockdownAllow{From: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Ports: port},
			spec.LockdownAllow{From: netip.PrefixFrom(netip.IPv6Unspecified(), 0), Ports: port})
	}
	return list
}

// remoteBindings gives the addresses of workloads behind the overlays. One that is
// not in its node's /64 is left out: that node cannot send from it either.
func (in Input) remoteBindings(overlays []Overlay, behind map[place]netip.Prefix) []Binding {
	ids := make(map[string]Record, len(in.Networks))
	for _, r := range in.Networks {
		ids[r.Document.Name] = r
	}
	type way struct {
		network string
		prefix  netip.Prefix
	}
	via := map[way]Overlay{}
	for _, o := range overlays {
		for _, p := range o.Peers {
			for _, prefix := range p.AllowedIPs {
				if !p.Standby {
					via[way{o.Network, prefix}] = o
				}
			}
		}
	}
	var list []Binding
	for _, r := range in.Remote {
		prefix := behind[place{r.Network, r.Node}]
		o, reachable := via[way{r.Network, prefix}]
		service, known := ids[r.Network].Services[r.Service]
		if !reachable || !known {
			continue
		}
		for _, address := range r.Addresses {
			if prefix.Contains(address) {
				list = append(list, Binding{
					Address: address, NetworkID: o.NetworkID, ServiceID: service,
					Interface: o.Interface, Remote: true,
				})
			}
		}
	}
	return list
}
