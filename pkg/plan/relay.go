package plan

import (
	"fmt"
	"net/netip"
	"slices"
)

// paths is how the other nodes of a network are reached.
type paths struct {
	node  string // this one
	exit  string // where nodes meet that do not reach each other; empty: nowhere
	peers []Peer // who could be spoken to directly, each with its own /64

	hidden func(node string) bool
	lost   func(Peer) bool // one of the two should have heard the other, and did not
}

// meet moves the /64s of nodes that cannot be reached directly to the exit: of
// hidden ones, if this node is hidden as well, and of those that do not answer. These
// stay peers without a prefix, so that they can shake hands again. Both ends must move,
// for each takes a /64 from one peer only: the other one hears that it is not heard
// (Part.Unheard), and a handshake is known to both.
func (p paths) meet() (list []Peer, ignored []Ignored) {
	list = slices.Clone(p.peers)
	exit := slices.IndexFunc(list, func(peer Peer) bool { return peer.Node == p.exit && !p.apart(peer.Node) })
	var behind []netip.Prefix
	for i := range list {
		switch peer := &list[i]; {
		case i == exit:
		case p.apart(peer.Node) && exit < 0:
			ignored = append(ignored, Ignored{Object: peer.Node, Reason: p.nowhere()})
		case p.apart(peer.Node):
			behind = append(behind, peer.AllowedIPs...)
		case p.lost(*peer) && exit >= 0 && !p.lost(list[exit]):
			behind = append(behind, peer.AllowedIPs...)
			peer.AllowedIPs, peer.Keepalive = nil, keepalive
		}
	}
	if exit >= 0 {
		list[exit].AllowedIPs = slices.Concat(list[exit].AllowedIPs, behind)
		slices.SortFunc(list[exit].AllowedIPs, netip.Prefix.Compare)
	}
	return slices.DeleteFunc(list, func(peer Peer) bool { return p.apart(peer.Node) }), ignored
}

// apart tells whether this node and another are both hidden, so that neither can
// begin.
func (p paths) apart(node string) bool { return p.hidden(p.node) && p.hidden(node) }

func (p paths) nowhere() string {
	switch p.exit {
	case "":
		return "both nodes are hidden, and the network's document names no exit where they could meet"
	case p.node:
		return "both nodes are hidden, and this one is the network's exit: an exit needs an endpoint"
	}
	return fmt.Sprintf("both nodes are hidden, and the network's exit %s is not there, or hidden too", p.exit)
}
