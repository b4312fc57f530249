package policy

import (
	"net/netip"

	"github.com/zosnet/zosnet/pkg/spec"
)

// World is what a node knows while it judges, in the words of the documents.
// Everything is found in it by going through, since it is meant to be obviously
// right, not fast.
type World struct {
	Networks []Network
	Ports    []Port
	Overlays []Overlay
	Bindings []Binding
	Space    []netip.Prefix // this node's tenant space
	NodeOwn  []netip.Prefix // the first /64 of each block, inside Space
	Routes   []Route        // the rest of the world
	Lockdown []spec.LockdownAllow
}

// Route leads to what is outside. The most specific one counts; what none covers
// has no route.
type Route struct {
	Prefix netip.Prefix
	Local  bool // one of the node's own addresses
	Uplink bool // else it leads nowhere
	MTU    int  // bytes, IP packet
}

// Network is a tenant network as far as packets meet it.
type Network struct {
	Document *spec.Network
	Prefix   netip.Prefix // its /64 on this node
	Gateway  netip.Addr   // PREFIX::1
	Resolver bool         // it has one of its own, a workload of ResolverService
	MTU      int          // bytes, IP packet
}

// Port is a workload's host-side interface.
type Port struct {
	Interface uint32 // index
	Network   string
	Service   string
	Workload  string
	MAC       [6]byte
	Learnable int // addresses that it may claim by DAD; 0 for a namespace
}

// Overlay is the interface to a network's other nodes, of which it may have two, or to
// its access devices.
type Overlay struct {
	Interface uint32 // index
	Network   string
	MTU       int  // bytes, IP packet
	Relay     bool // the network's nodes may reach each other through this one
	Entrance  bool // to access devices, whose gateway this node is
}

// Binding says that an address is a workload's.
type Binding struct {
	Address   netip.Addr // link-local: of this network only
	Network   string
	Service   string
	Workload  string
	Access    string // the access device that has it, in place of a workload
	Interface uint32 // an Overlay's: the workload is on another node
	Learned   bool   // by DAD
}

// Endpoint is one side of a flow, as rules see it.
type Endpoint struct {
	Address  netip.Addr
	Network  string // empty: outside
	Service  string
	Workload string // empty where only the service is known
	Access   string // an access device of the network; then there is no service
}

// Network gives the network of that name.
func (w *World) Network(name string) (Network, bool) {
	for _, n := range w.Networks {
		if n.Document.Name == name {
			return n, true
		}
	}
	return Network{}, false
}

// Port gives the port on an interface.
func (w *World) Port(index uint32) (Port, bool) {
	for _, p := range w.Ports {
		if p.Interface == index {
			return p, true
		}
	}
	return Port{}, false
}

// Binding gives who has an address, seen from a network: a link-local address
// means something only there.
func (w *World) Binding(address netip.Addr, network string) (Binding, bool) {
	for _, b := range w.Bindings {
		if b.Address == address && (!isLinkLocal(address) || b.Network == network) {
			return b, true
		}
	}
	return Binding{}, false
}

func (b Binding) endpoint() Endpoint {
	return Endpoint{Address: b.Address, Network: b.Network, Service: b.Service, Workload: b.Workload, Access: b.Access}
}

// route gives the most specific route to an address.
func (w *World) route(address netip.Addr) (best Route) {
	for _, r := range w.Routes {
		if r.Prefix.Contains(address) && (!best.Prefix.IsValid() || r.Prefix.Bits() > best.Prefix.Bits()) {
			best = r
		}
	}
	return best
}

// isGateway says whether an address is the network's own: its gateway's, the
// subnet-router anycast (RFC 4291, 2.6.1), or fe80::1.
func (n Network) isGateway(address netip.Addr) bool {
	return address == n.Gateway || address == n.Prefix.Masked().Addr() || address == linkLocalGateway
}

// couldHold says whether an address could be one of the network's workloads'.
func (n Network) couldHold(address netip.Addr) bool {
	return (isLinkLocal(address) || n.Prefix.Contains(address)) && !n.isGateway(address)
}

// isClaimable says whether a VM may take an address for itself: one of the
// network's /64 or link-local, but none that is kept (:: and ::1 are the
// gateway's, ::53 the resolver's).
func (n Network) isClaimable(address netip.Addr) bool {
	if !n.Prefix.Contains(address) && !linkLocalSubnet.Contains(address) {
		return false
	}
	b := address.As16()
	host := [8]byte(b[8:])
	return host != [8]byte{} && host != [8]byte{7: 0x01} && host != [8]byte{7: 0x53}
}

var (
	linkLocalGateway = netip.MustParseAddr("fe80::1")
	linkLocalSubnet  = netip.MustParsePrefix("fe80::/64")
)

func containsAny(prefixes []netip.Prefix, address netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(address) {
			return true
		}
	}
	return false
}
