package registry

import (
	"net/netip"
	"time"

	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/spec"
)

// Snapshot is everything in the registry, read at one revision.
type Snapshot struct {
	Revision    int64           // hand it to Watch to learn of what comes after
	Networks    []NetworkRecord // by name
	Attachments []Attachment    // by network, name
	Bindings    []Binding       // by network, workload, address
	IPAM        ipam.State
	Lockdown    *LockdownTrial // nil: none is pending or confirmed

	Registrations []ipam.Registration // by prefix: allocations that this node holds, besides those of node.yaml
	Blocks        []Block             // by block: what was delegated to this node
}

// Network gives the record of that name, or false.
func (s Snapshot) Network(name string) (NetworkRecord, bool) {
	for _, n := range s.Networks {
		if n.Name == name {
			return n, true
		}
	}
	return NetworkRecord{}, false
}

// Block is a block that a holder has delegated to this node.
type Block struct {
	Block     netip.Prefix
	Holder    string
	GivenBack bool // it is on its way back to the holder: no /64 is given from it any more
}

// NetworkDocument is one NETWORK.yaml to be stored.
type NetworkDocument struct {
	Name     string
	File     string   // where the document was read, for messages
	Document []byte   // its text, UTF-8
	Services []string // every service that it names
	Access   []string // every access device
}

// NetworkRecord is a stored document with what was allocated for it.
type NetworkRecord struct {
	Name     string
	ID       uint32       // ipam.FirstNetworkID to ipam.LastNetworkID
	Prefix   netip.Prefix // its /64 on this node
	File     string
	Document []byte
	Services map[string]uint32 // service name to service id, from 1
	Access   map[string]uint32 // access device to its id, one of the services'
	Applied  time.Time         // when this text was stored first
	Revision int64             // of the last change
}

// AttachmentKind says what a workload's interface is.
type AttachmentKind string

// The kinds of attachment.
const (
	AttachmentNetns AttachmentKind = "netns" // a pause namespace that the daemon makes
	AttachmentPath  AttachmentKind = "path"  // an existing namespace, at NetnsPath
	AttachmentTap   AttachmentKind = "tap"   // a tap for a VM, named TapName
)

// Attachment is one workload. Its address is ipam.Address(network's /64, Host);
// a tap's further addresses are its bindings.
type Attachment struct {
	Network   string
	Service   string
	Name      string // unique in its network
	Kind      AttachmentKind
	NetnsPath string
	TapName   string
	Host      uint32 // host number, from ipam.FirstHost
	Created   time.Time
}

// Binding is an address that a VM took for itself and that its DAD showed.
type Binding struct {
	Network  string
	Workload string
	Address  netip.Addr
	MAC      string
	Learned  time.Time
}

// LockdownTrial is a lockdown failsafe that stands in for node.yaml's.
type LockdownTrial struct {
	Allow    []spec.LockdownAllow
	Deadline time.Time // when it is taken back; zero once it is confirmed
}
