package plan

import (
	"net/netip"

	"github.com/zosnet/zosnet/pkg/wireguard"
)

// Node is another node of the grid, as far as its networks concern this one.
type Node struct {
	Name     string
	Endpoint netip.Addr     // where peers reach it; the zero Addr: hidden, it dials out
	Blocks   []netip.Prefix // what was delegated to it: a /64 that lies elsewhere is not its to give
	Silent   bool           // it is not live and not heard: its workloads are not healthy ones
	Gone     bool           // nobody has heard of it for so long that it is not looked for any more
}

// Part is what one node carries of a network. This node's own parts are among an
// Input's: a network without one has no overlay here.
type Part struct {
	Network    string
	Node       string
	Prefix     netip.Prefix // its /64 there
	PublicKey  [32]byte     // of its WireGuard interface of this network
	Port       uint16       // that it listens on
	Generation wireguard.Generation
	Next       *Successor // nil: its key is not being changed
	Unheard    bool       // another node's: it does not hear this one directly
	Sends      bool       // another node's: what it sends to this one goes over its Next
	Overdue    bool       // this node's: its change has taken so long that it no longer waits for who is silent
}

// Remote is a workload on another node.
type Remote struct {
	Network   string
	Service   string
	Name      string
	Node      string
	Addresses []netip.Addr // planned and learned, none link-local
}

// Overlay is this node's WireGuard interface of one network, with the nodes
// behind it. Its private key is where the node keeps it, and never in a State. A
// network whose key is being changed has two, the old one first.
type Overlay struct {
	Network    string
	NetworkID  uint32
	Interface  string // at most 15 bytes
	PublicKey  [32]byte
	Port       uint16 // UDP, opened in the lockdown
	MTU        uint16 // bytes, IP packet inside
	Relay      bool   // its nodes reach each other through this one where they cannot directly
	Peers      []Peer // by node
	Generation wireguard.Generation
	Heir       string   // interface of the overlay that takes its place; empty: none
	Needed     []string // nodes that an overlay with an heir must stay for
}

// Peer is another node behind an Overlay. Each of its AllowedIPs is a route to
// the overlay's interface, unless it stands by: its own /64 and, at the network's exit,
// those of the nodes that are reached through it. A node that does not answer has none
// until it does.
type Peer struct {
	Node       string
	PublicKey  [32]byte
	Endpoint   netip.AddrPort // the zero AddrPort: it dials, or is gone
	AllowedIPs []netip.Prefix
	Keepalive  uint16 // seconds; 0: none, both sides can be reached
	Standby    bool   // what is for it goes over the network's other overlay
	Gone       bool   // where it was heard last, somebody else may be
}

// Ignored is a piece of the grid's state that does not fit, and is left out so
// that the rest can be enforced.
type Ignored struct {
	Object string // such as "network acme on node n2"
	Reason string
}
