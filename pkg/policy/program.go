package policy

import (
	"fmt"
	"math/bits"
	"net/netip"

	"github.com/zosnet/zosnet/pkg/spec"
)

// MaxEntries is how many entries a Program can have: POLICY_ENTRIES of the
// datapath, 64 words of 64 bits.
const MaxEntries = 4096

// Program is one network's policy as the datapath reads it. Its entries are those
// of its resolver, if it has one, then the rules, then the access entries (one for each
// device and service), then the expose entries, each in document order, then the three
// defaults and, where there is access, the one that refuses it all else. For each dimension of a packet a class gives
// the entries that match it; the first entry that matches in every dimension
// decides:
//
//	(FromService | FromCIDR) & (ToService | ToCIDR) & PortClasses
//
// All Bits of a Program have the same length. Equal documents give equal
// Programs.
type Program struct {
	Network uint32
	Entries []Entry // position → what it came from

	// By service id. 0 is outside; the network's own services and access devices all
	// stand here, another network's only where an entry names it (else it is outside).
	FromService, ToService map[uint32]Bits

	FromCIDR, ToCIDR []Bits      // by class
	CIDRs            []CIDRClass // longest match from an address to its class; none: no entry names it

	PortClasses []Bits       // by class
	Ports       []PortPrefix // longest match from a protocol and port to its class

	Allow, Log Bits
}

// Entry is what decides: one line of a document, or a default.
type Entry struct {
	Kind  EntryKind
	Index int    // in its document list
	Name  string // of an access entry: DEVICE.SERVICE
	Side  Side   // of a default
	Allow bool
	Log   bool
	Pos   spec.Pos // of what the document leaves out: the document's
	Text  string   // such as "deny from inside to db ports tcp/5432"
}

// EntryKind says which part of the document an Entry stands in.
type EntryKind string

// The parts of a document that hold entries, and what stands before it, in the order of their entries.
const (
	EntryOwn     EntryKind = "own" // that every network with a resolver has
	EntryRule    EntryKind = "rule"
	EntryAccess  EntryKind = "access"
	EntryExpose  EntryKind = "expose"
	EntryDefault EntryKind = "default"
	EntryRefusal EntryKind = "refusal" // of what access devices say and are told, but for all that stands before
)

// Key gives the entry's place in its document, such as "rules[1]" or
// "default.inbound".
func (e Entry) Key() string {
	switch e.Kind {
	case EntryOwn:
		return fmt.Sprintf("own[%d]", e.Index)
	case EntryRule:
		return fmt.Sprintf("rules[%d]", e.Index)
	case EntryAccess:
		return "access." + e.Name
	case EntryExpose:
		return fmt.Sprintf("expose[%d]", e.Index)
	case EntryRefusal:
		return "default.access"
	}
	return "default." + e.Side.String()
}

// String gives place, key and meaning:
// "acme.yaml:14:5 rules[1] deny from inside to db".
func (e Entry) String() string {
	return fmt.Sprintf("%s %s %s", e.Pos, e.Key(), e.Text)
}

// Side says as what a network judges a flow.
type Side uint8

// The sides, in the order of enum policy_side of the datapath.
const (
	Inside   Side = iota // workload to workload of one network, or an access device
	Outbound             // by the network that the flow leaves
	Inbound              // by the network that the flow enters
)

// The order in which a Program's defaults stand.
var defaultSides = [...]Side{Inside, Inbound, Outbound}

// String gives the side as `default` of a document names it.
func (s Side) String() string {
	return [...]string{"inside", "outbound", "inbound"}[s]
}

// Bits is a set of entry positions: bit i%64 of word i/64.
type Bits []uint64

// Set adds a position, which must lie in the words that b has.
func (b Bits) Set(i int) { b[i/64] |= 1 << (i % 64) }

// Has says whether a position is in the set.
func (b Bits) Has(i int) bool { return i/64 < len(b) && b[i/64]>>(i%64)&1 == 1 }

// First gives the lowest position, or -1 where the set is empty.
func (b Bits) First() int {
	for w, word := range b {
		if word != 0 {
			return w*64 + bits.TrailingZeros64(word)
		}
	}
	return -1
}

// CIDRClass gives a prefix's class. It includes what covering prefixes match.
type CIDRClass struct {
	Prefix netip.Prefix // IPv6, masked
	Class  uint32
}

// PortPrefix gives the class of a protocol, or of a block of its ports. One
// entry with AnyProto is always there.
type PortPrefix struct {
	Proto    uint16
	AnyProto bool   // every protocol; the other fields but Class are zero
	Port     uint16 // host order, or ICMPv6 type
	Bits     int    // of Port that count, from the top: 0 (every port) to 16
	Class    uint32
}

// IDs are the numbers that documents' names have on this node.
type IDs struct {
	Network  uint32
	Resolver uint32                       // of the network's resolver as a service; 0: it has none
	Services map[string]uint32            // the network's own
	Access   map[string]uint32            // its access devices, as services that nothing but their names means
	Peer     map[string]map[string]uint32 // other networks on this node: network → service → id
}

// Service gives the id of a service of the network, its resolver among them; 0
// where there is none of that name.
func (ids IDs) Service(name string) uint32 {
	if name == ResolverService {
		return ids.Resolver
	}
	return ids.Services[name]
}

// Endpoint gives the id by which the rules of its own network know an end: its
// service's or its access device's; 0 where there is none.
func (ids IDs) Endpoint(e Endpoint) uint32 {
	if e.Access != "" {
		return ids.Access[e.Access]
	}
	return ids.Service(e.Service)
}

// HasCIDRs says whether any entry names an address.
func (p *Program) HasCIDRs() bool { return len(p.CIDRs) > 0 }

// HasLogs says whether any entry wants a log line.
func (p *Program) HasLogs() bool { return p.Log.First() >= 0 }
