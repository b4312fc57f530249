package plan

import (
	"net/netip"
	"time"

	"github.com/zosnet/zosnet/pkg/spec"
)

// Input is everything that the state follows from. The order of its slices does
// not matter.
type Input struct {
	Node        *spec.Node
	MTU         uint16 // bytes, the smallest of the uplinks; 0: not known, taken for 1500
	FlowSets    uint32 // flow sets that the datapath has room for: maps.MaxFlows / maps.FlowWays
	FlowShares  uint32 // shares that a network's flows are kept in: maps.FlowShares
	Networks    []Record
	Attachments []Attachment
	Learned     []Learned
	Nodes       []Node         // the others, for the overlays
	Parts       []Part         // of networks, this node's own among them
	Remote      []Remote       // workloads on other nodes
	Sessions    []Session      // of the overlays' peers; one that is not listed is not established
	Entrances   []EntranceKey  // of this node, for networks whose access ends here
	Reserved    []netip.Prefix // what no network has anywhere: the grid's control network
	Trial       *Trial         // nil: node.yaml's lockdown counts
}

// Record is a network's document with what the registry allocated for it.
type Record struct {
	Document *spec.Network
	ID       uint32       // dense, from 1
	Prefix   netip.Prefix // its /64 on this node
	Services map[string]uint32
	Access   map[string]uint32 // ids of its access devices
}

// Attachment is a workload as it was asked for.
type Attachment struct {
	Network   string
	Service   string
	Name      string
	Kind      WorkloadKind
	NetnsPath string // of WorkloadPath
	TapName   string // of WorkloadTap
	Host      uint32 // host number in the network's /64
}

// Learned is an address that a VM took for itself and that its DAD showed.
type Learned struct {
	Network  string
	Workload string
	Address  netip.Addr
	MAC      [6]byte
}

// Trial is a lockdown that stands in for node.yaml's.
type Trial struct {
	Allow    []spec.LockdownAllow
	Deadline time.Time // when node.yaml's counts again; zero once it is confirmed
}
