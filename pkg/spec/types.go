// Package spec holds the two documents that people write, node.yaml and
// NETWORK.yaml: their types, strict decoding, validation and JSON Schema.
//
// It knows what a document may say and where in a file each part stands. It
// must not know what a node does with it: no kernel, no registry, no plan.
package spec

import (
	"fmt"
	"net/netip"
	"slices"
)

// Pos is a place in a document. Line and Column count from 1; the zero Pos
// means "not from a file".
type Pos struct {
	File   string
	Line   int
	Column int
}

// String gives "file:line:column", or "-" for the zero Pos.
func (p Pos) String() string {
	if p.Line == 0 {
		return "-"
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Where holds the places of the values that have no Pos of their own, by their
// path in the document: "exit", "nodes[1]". A document made in code has none.
type Where map[string]Pos

// Node is a decoded and validated node.yaml, with every default filled in.
type Node struct {
	Name      string
	Uplinks   []string // empty: every physical link
	Underlay  Underlay
	Endpoint  netip.Addr // the zero Addr on a hidden node
	Exit      string     // node name, "auto", or empty where IPv6 is native
	Prefixes  []netip.Prefix
	DNS       []netip.Addr // servers that networks' other questions go to, IPv6
	ExitPoint *ExitPoint
	Lockdown  Lockdown
	Accept    []string // owners whose networks are carried, "ed25519:…"; empty: anybody's
	Registry  Registry
	StateDir  string
	RunDir    string
	BPFFS     string
	Pos       Pos
	Where     Where
}

// Underlay is the kind of connection a node has.
type Underlay string

// The underlays a node.yaml may name.
const (
	UnderlayAuto     Underlay = "auto"
	UnderlayDCIPv4   Underlay = "dc-ipv4"
	UnderlayDCDual   Underlay = "dc-dual"
	UnderlayHomeIPv4 Underlay = "home-ipv4"
	UnderlayHomeIPv6 Underlay = "home-ipv6"
)

// ExitPoint says how a node serves others as an exit.
type ExitPoint struct {
	Tunnels bool
	IPv4    []netip.Addr
	Pos     Pos
}

// Lockdown is what a stranger may reach on the host: nothing but Allow.
type Lockdown struct {
	Allow []LockdownAllow
}

// LockdownAllow is one failsafe opening. Ports never holds ICMPv6 entries.
type LockdownAllow struct {
	From  netip.Prefix // IPv4 or IPv6, masked
	Ports []Ports
	Pos   Pos
}

// Registry names an etcd that somebody else runs, and the PEM files by which the node
// and it know each other; no endpoints: the embedded one.
type Registry struct {
	Endpoints []string
	CA        string // whom the node believes to be it
	Cert, Key string // the node's there; its CN is the node's name
	Pos       Pos
}

// Network is a decoded and validated NETWORK.yaml, with every default filled in.
type Network struct {
	Name     string
	Nodes    []string
	Exit     string // where nodes meet that do not reach each other; empty: nowhere
	Default  Default
	Services []Service // in document order
	Access   []Access  // in document order
	Rules    []Rule
	Expose   []Expose
	Pos      Pos
	Where    Where
}

// Carriers gives the nodes that have a part of the network: those it names, and its
// exit, which has no workloads if it is not among them.
func (n *Network) Carriers() []string {
	if n.Exit == "" || slices.Contains(n.Nodes, n.Exit) {
		return n.Nodes
	}
	return append(slices.Clone(n.Nodes), n.Exit)
}

// CarriedBy tells whether a node has a part of the network.
func (n *Network) CarriedBy(node string) bool { return slices.Contains(n.Carriers(), node) }

// Action is what a rule or a default decides.
type Action string

// The two actions.
const (
	Allow Action = "allow"
	Deny  Action = "deny"
)

// Default decides what no rule, access or expose entry decided.
type Default struct {
	Inside   Action // workload to workload of this network
	Inbound  Action // outside to workload
	Outbound Action // workload to outside
	Pos      Pos
}

// Service is a named role in a network. Ports restrict nothing by themselves;
// access and expose entries mean them when they name none.
type Service struct {
	Name  string
	Ports []Ports
	Pos   Pos
}

// Access is a person's device that joins the network.
type Access struct {
	Name      string
	PublicKey string // WireGuard public key, base64
	Allow     []Selector
	Ports     []Ports // empty: each allowed service's own ports
	At        string  // the node where it ends; empty: the network's exit, else its first node that can be reached
	Pos       Pos
}

// Rule is one allow or deny line; the first that matches decides.
type Rule struct {
	Action Action
	From   []Selector
	To     []Selector
	Ports  []Ports // empty: every port and protocol
	Log    bool
	Pos    Pos
}

// SelectorKind says which field of a Selector holds.
type SelectorKind uint8

// The kinds of selector.
const (
	SelectAny         SelectorKind = iota // any endpoint
	SelectInside                          // every workload of this network
	SelectOutside                         // everything else, access devices apart
	SelectService                         // Name: a service of this network
	SelectAccess                          // Name: an access device of this network
	SelectCIDR                            // CIDR: whoever has the address, inside too
	SelectPeerService                     // Network/Name: a service of another network
)

// Selector is one subject or object of a rule.
type Selector struct {
	Kind    SelectorKind
	Name    string
	Network string
	CIDR    netip.Prefix // masked; an IPv4 CIDR matches only at the IPv4 proxy
	Pos     Pos
}

// String gives the selector as the document writes it.
func (s Selector) String() string {
	switch s.Kind {
	case SelectAny:
		return "any"
	case SelectInside:
		return "inside"
	case SelectOutside:
		return "outside"
	case SelectCIDR:
		return s.CIDR.String()
	case SelectPeerService:
		return s.Network + "/" + s.Name
	default:
		return s.Name
	}
}

// IP protocol numbers that documents can name (IANA protocol-numbers).
const (
	ProtoTCP    = 6
	ProtoUDP    = 17
	ProtoICMPv6 = 58
	ProtoSCTP   = 132
)

// Ports is one entry of a ports list: a protocol with a range of ports, or for
// ICMPv6 a range of one type. Any stands for every protocol.
type Ports struct {
	Any   bool
	Proto uint8
	First uint16 // port or ICMPv6 type, inclusive
	Last  uint16 // inclusive; First=0, Last=65535 is the whole protocol
	Pos   Pos
}

// Expose is an opening from outside to a service.
type Expose struct {
	Service string
	Ports   []Ports // empty: the service's own ports
	IPv4    string  // empty: IPv6; else "auto" or an IPv4 address of an exit
	SNI     []string
	Pos     Pos
}

// Device gives the access device of that name, or false.
func (n *Network) Device(name string) (Access, bool) {
	for _, a := range n.Access {
		if a.Name == name {
			return a, true
		}
	}
	return Access{}, false
}

// Service gives the service of that name, or false.
func (n *Network) Service(name string) (Service, bool) {
	for _, s := range n.Services {
		if s.Name == name {
			return s, true
		}
	}
	return Service{}, false
}
