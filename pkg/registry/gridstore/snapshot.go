package gridstore

import (
	"net/netip"
	"time"

	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/trust"
)

// Source says where a snapshot is from.
type Source string

// The sources.
const (
	SourceNone    Source = ""        // nothing is known: no cache, and the registry was not reached yet
	SourceCache   Source = "cache"   // of an earlier run of this node
	SourceCluster Source = "cluster" // of this run
)

// Snapshot is what concerns this node, at one revision, as far as it was proven.
// Nothing in it may be changed. What did not change is the same pointer in the next
// snapshot.
type Snapshot struct {
	Revision  int64
	Source    Source
	Confirmed time.Time            // when the registry last said that this is how it is, by this node's clock
	Nodes     map[string]*Node     // this one, those of its networks, their holders, and for a holder all
	Networks  map[string]*Network  // those whose owner names this node
	Carried   map[string]*Document // of the networks that this node carries, also a released one, or one that does not name it any more
	Problems  []Problem            // by key

	// Recovery is the number of the recovery since which this is the grid's registry
	// (Root.Recover); 0: it was never lost.
	Recovery uint64

	Revocations []byte // the grid's revocation list, PEM; nil: none is known
}

// Problem is a value that was not believed. What was believed before stays.
type Problem struct {
	Key string
	Err error
}

// Node is one node. Fields are zero for what it has not published, or what does
// not concern this node.
type Node struct {
	Name       string
	Identity   *trust.Identity
	Record     *Record
	Live       bool                      // its lease held, when this was confirmed
	Since      time.Time                 // when its daemon started; zero if it is not live
	Removed    time.Time                 // when it was taken out of the grid; zero if it is in; only members and holders hear that
	Left       time.Time                 // when this node heard that it is not live any more; zero if it is, or was never heard
	Holding    ipam.Holding              // what it holds for others
	Registered map[netip.Prefix]int64    // the revision in which each prefix of Holding was registered: of two that overlap the older one counts
	Request    *ipam.Request             // what it asks a holder for
	Member     netip.AddrPort            // where it serves the registry's clients; not valid: it is no member
	Joining    map[string]netip.AddrPort // the cluster that it is to join as a member, by name where each serves the others
	Admitted   *Admission                // as the roster has it; only members and holders hear that
	Tokens     []trust.PendingToken      // that this node made, by id; of others nothing
}

// Admission is a node's place in the grid.
type Admission struct {
	Node       string
	Address    netip.Addr // control address
	ControlKey trust.ControlKey
	Admitted   time.Time
}

// Network is one network.
type Network struct {
	Name        string
	Document    *Document
	Revision    int64                   // of the last change to anything below
	Parts       map[string]*Part        // by node
	Attachments map[string][]Attachment // by node; by workload
	Bindings    map[string][]Binding    // by node; by workload, address
}

// Block gives the delegation of a block, from the node that holds it.
func (s *Snapshot) Block(holder string, block netip.Prefix) (ipam.Delegation, bool) {
	if n := s.Nodes[holder]; n != nil {
		d, ok := n.Holding.Blocks[block]
		return d, ok
	}
	return ipam.Delegation{}, false
}
