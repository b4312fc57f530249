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

// overlays gives the overlays of each network that has a part here, by network, and
// what of other nodes' parts does not fit.
func (in Input) overlays(networks []Network) ([]Overlay, []Ignored) {
	var list []Overlay
	var ignored []Ignored
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
		}
		var left []Ignored
		o.Peers, left = in.peers(documents[n.Name], parts[n.Name], nodes)
		o.MTU = overlayMTU(in.mtu(), o.Peers)
		both, unpaired := in.generations(o, own, parts[n.Name], sessions)
		list, ignored = append(list, both...), slices.Concat(ignored, left, unpaired)
	}
	return list, ignored
}

// peers gives the other nodes of a network, by name. What a node claims is checked
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
		node := nodes[p.Node]
		peer := Peer{Node: p.Node, PublicKey: p.PublicKey, AllowedIPs: []netip.Prefix{p.Prefix}}
		if node.Endpoint.IsValid() {
			peer.Endpoint = netip.AddrPortFrom(node.Endpoint, p.Port)
		}
		if !node.Endpoint.IsValid() || !in.Node.Endpoint.IsValid() {
			peer.Keepalive = keepalive
		}
		list = append(list, peer)
	}
	slices.SortFunc(list, func(a, b Peer) int { return cmp.Compare(a.Node, b.Node) })
	slices.SortFunc(ignored, func(a, b Ignored) int { return cmp.Compare(a.Object, b.Object) })
	return list, ignored
}

func partObject(network, node string) string {
	return fmt.Sprintf("network %s on node %s", network, node)
}

// misfit says why another node's part of a network is left out; empty: it fits.
func (in Input) misfit(document *spec.Network, p Part, node Node, known bool) string {
	within := func(block netip.Prefix) bool {
		return block.Bits() <= p.Prefix.Bits() && block.Contains(p.Prefix.Addr())
	}
	switch {
	case !slices.Contains(document.Nodes, p.Node):
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
	case !node.Endpoint.IsValid() && !in.Node.Endpoint.IsValid():
		return "both nodes are hidden, so neither can reach the other"
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

// openings gives what the lockdown must let in for the overlays: WireGuard answers
// nobody who has no key of it.
func openings(overlays []Overlay) []spec.LockdownAllow {
	var list []spec.LockdownAllow
	for _, o := range overlays {
		port := []spec.Ports{{Proto: spec.ProtoUDP, First: o.Port, Last: o.Port}}
		list = append(list,
			spec.LockdownAllow{From: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Ports: port},
			spec.LockdownAllow{From: netip.PrefixFrom(netip.IPv6Unspecified(), 0), Ports: port})
	}
	return list
}

// remoteBindings gives the addresses of workloads behind the overlays. One that is
// not in its node's /64 is left out: that node cannot send from it either.
func (in Input) remoteBindings(overlays []Overlay) []Binding {
	ids := make(map[string]Record, len(in.Networks))
	for _, r := range in.Networks {
		ids[r.Document.Name] = r
	}
	type place struct{ network, node string }
	behind := map[place]Peer{}
	via := map[place]Overlay{}
	for _, o := range overlays {
		for _, p := range o.Peers {
			if at := (place{o.Network, p.Node}); !p.Standby {
				behind[at], via[at] = p, o
			}
		}
	}
	var list []Binding
	for _, r := range in.Remote {
		at := place{r.Network, r.Node}
		peer, reachable := behind[at]
		service, known := ids[r.Network].Services[r.Service]
		if !reachable || !known {
			continue
		}
		for _, address := range r.Addresses {
			if slices.ContainsFunc(peer.AllowedIPs, func(p netip.Prefix) bool { return p.Contains(address) }) {
				list = append(list, Binding{
					Address: address, NetworkID: via[at].NetworkID, ServiceID: service,
					Interface: via[at].Interface, Remote: true,
				})
			}
		}
	}
	return list
}
