// Package plan turns documents, attachments and what this node is into the whole
// desired state of the node, as one value.
//
// It is pure: no syscall, no clock, no randomness; the same input gives the same
// state. It must not know how the state is reached (that is apply) nor where its
// input is kept (that is the registry).
package plan

import (
	"net/netip"

	"github.com/zosnet/zosnet/pkg/policy"
	"github.com/zosnet/zosnet/pkg/spec"
)

// State is everything that this node should have in its kernel because of zosnet.
// Slices are sorted; two equal inputs give equal States.
type State struct {
	Node      string
	Uplinks   []string // empty: every physical link, and the bonds and VLANs on them
	Lockdown  []spec.LockdownAllow
	Trial     *Trial // a lockdown that stands in for Lockdown until its deadline; nil: none
	Prefixes  []Prefix
	Networks  []Network
	Workloads []Workload
	Resolvers []Resolver
	Overlays  []Overlay
	Entrances []Entrance
	Devices   []Device
	Bindings  []Binding
	Ignored   []Ignored // of what other nodes say; it keeps nothing else from being enforced
}

// Prefix is a piece of this node's address space. Node pieces (the first /64 of
// each block) are more specific than the tenant prefix that they lie in.
type Prefix struct {
	Prefix netip.Prefix
	Node   bool // kept for the node itself; else tenant space, unreachable where unassigned
}

// Network is one tenant network's part on this node.
type Network struct {
	Name        string
	ID          uint32       // dense, 1..4095, index in the datapath
	Prefix      netip.Prefix // its /64 here
	Gateway     netip.Addr   // PREFIX::1
	Resolver    netip.Addr   // PREFIX::53; the zero Addr: it has none here
	Bridge      string       // interface name, at most 15 bytes
	BridgeMAC   [6]byte
	MTU         uint16 // bytes
	FlowSets    uint32 // sets of four flows in each of its flow shares
	AdvertiseRA bool   // it has a tap here

	// Proxied are addresses of its /64 that are not on the bridge but behind its
	// entrance: the bridge answers for them in neighbour discovery (RFC 4861, 7.2.8).
	Proxied []netip.Addr
	Policy  policy.Program
}

// WorkloadKind says what a workload is attached by.
type WorkloadKind string

// The kinds of workload, named as the registry names attachments.
const (
	WorkloadNetns WorkloadKind = "netns" // a pause namespace that zosnet makes
	WorkloadPath  WorkloadKind = "path"  // a namespace somebody else made
	WorkloadTap   WorkloadKind = "tap"   // a VM
)

// Workload is one attachment.
type Workload struct {
	Network   string
	NetworkID uint32
	Service   string
	ServiceID uint32
	Name      string
	ID        uint32 // host number in the network
	Kind      WorkloadKind
	NetnsPath string     // netns: /run/netns/NETWORK.NAME; path: as given
	Interface string     // host-side veth or tap, at most 15 bytes
	MAC       [6]byte    // of eth0 in the namespace, or of the VM's card
	Address   netip.Addr // the zero Addr for a tap: it learns its own
	LinkLocal netip.Addr // fe80:: with the modified EUI-64 of MAC
	Bridge    string
	Gateway   netip.Addr // fe80::1
	MTU       uint16     // bytes
}

// Binding says that an address is a workload's.
type Binding struct {
	Address   netip.Addr
	NetworkID uint32
	ServiceID uint32
	Workload  uint32 // 0: on another node, or an access device
	Interface string // the workload's, or the overlay's or entrance's that leads there
	MAC       [6]byte
	Tap       bool
	Learned   bool // from DAD, not from the plan
	Remote    bool // not of a workload on this node
	Device    bool // of an access device
}
