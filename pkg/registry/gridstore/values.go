package gridstore

import (
	"net/netip"
	"time"

	"github.com/zosnet/zosnet/pkg/trust"
)

// The values, as they are stored. What the key says is not repeated in the value.

// envelope is what is stored of a node's signed value; the payload is one of the
// types below, as JSON.
type envelope struct {
	Extra
	trust.Signed
}

// Record is what a node says of itself.
type Record struct {
	Extra
	Class            string     `json:"class,omitempty"`            // its underlay
	Endpoint         netip.Addr `json:"endpoint,omitzero"`          // where its overlays listen; not valid: hidden
	ControlEndpoint  string     `json:"controlEndpoint,omitempty"`  // address:port of its control WireGuard interface
	ControlPublicKey string     `json:"controlPublicKey,omitempty"` // of the same, base64
	ControlAddress   netip.Addr `json:"controlAddress,omitzero"`    // of the same, inside
	NextHop          netip.Addr `json:"nextHop,omitzero"`           // IPv6, where an upstream sends what is for its blocks
	Exit             bool       `json:"exit,omitempty"`             // serves others as an exit
	Program          string     `json:"program,omitempty"`          // version of zosnet that it runs
}

// Part is a network on a node.
type Part struct {
	Extra
	Prefix    netip.Prefix `json:"prefix"`    // its /64 there
	PublicKey string       `json:"publicKey"` // WireGuard, base64
	Port      uint16       `json:"port"`      // UDP, where its WireGuard interface listens
	Hidden    bool         `json:"hidden,omitempty"`

	// Generation counts the node's keys of the network; Next is the key that takes
	// PublicKey's place, with a device of its own, and Sends are the nodes to which
	// this one sends over that device already.
	Generation uint32     `json:"generation,omitempty"`
	Next       *Successor `json:"next,omitempty"`
	Sends      []string   `json:"sends,omitempty"`

	// Of its entrance, to which people's devices dial; empty where none end there.
	EntranceKey  string `json:"entranceKey,omitempty"` // WireGuard, base64
	EntrancePort uint16 `json:"entrancePort,omitempty"`

	// Unheard are the nodes that this one does not hear, and reaches through the exit.
	Unheard []string `json:"unheard,omitempty"`

	// The block that the /64 is of, and the node that delegated it: where to look
	// whether that is true.
	Block  netip.Prefix `json:"block,omitzero"`
	Holder string       `json:"holder,omitempty"`
}

// Successor is a key that takes another one's place.
type Successor struct {
	Generation uint32 `json:"generation"`
	PublicKey  string `json:"publicKey"`
	Port       uint16 `json:"port"`
}

// Attachment is a workload on a node; the key names it.
type Attachment struct {
	Extra
	Workload string     `json:"-"`
	Service  string     `json:"service"`
	Kind     string     `json:"kind"`
	Host     uint32     `json:"host"` // host number in the node's /64
	Address  netip.Addr `json:"address"`
}

// Binding is an address that a workload took for itself; the key names both.
type Binding struct {
	Extra
	Workload string     `json:"-"`
	Address  netip.Addr `json:"-"`
	Learned  time.Time  `json:"learned"`
}

// registration is an allocation that the node holds; the key names the prefix.
type registration struct {
	Extra
	Source     string    `json:"source,omitempty"`
	Contact    string    `json:"contact,omitempty"`
	Registered time.Time `json:"registered"`
}

// delegation says which node has, or had, a block of the node whose key it is.
type delegation struct {
	Extra
	Node  string    `json:"node"`
	Until time.Time `json:"restsUntil,omitzero"` // zero: Node has it
}

// request is what a node asks of a holder.
type request struct {
	Extra
	Holder  string         `json:"holder"`
	Blocks  int            `json:"blocks"`
	Bits    int            `json:"bits,omitempty"`
	Others  []string       `json:"others,omitempty"`
	Release []netip.Prefix `json:"release,omitempty"`
}

// certificate is a node's, made by the grid's CA, newest first.
type certificate struct {
	Extra
	PEM string `json:"pem"`
}

// live says that a node's daemon runs, for as long as its lease does.
type live struct {
	Extra
	Since time.Time `json:"since"`
}

// Document is a network's, signed by its owner. A released one has no text: the
// network is gone, its name free and its revision not forgotten.
type Document struct {
	Extra
	trust.Document
	File    string    `json:"file,omitempty"` // where it was read, for messages
	Applied time.Time `json:"applied"`        // when it was stored, by that node's clock

	// Nodes are those that must hear of the network: what its text names, and its
	// exit. Like the two above not signed: the text decides, this spreads the news.
	Nodes []string `json:"nodes,omitempty"`
}

// claim says which node has a workload's name.
type claim struct {
	Extra
	Node string `json:"node"`
}

// span tells a node of a network that names it.
type span struct{ Extra }

// admission says that a node is in the grid. What it took no other may have.
type admission struct {
	Extra
	Admitted   time.Time        `json:"admitted"`
	Address    netip.Addr       `json:"address"` // control address
	ControlKey trust.ControlKey `json:"controlKey"`
}

// removal says that a node was taken out of the grid, until one of its name is let in.
type removal struct {
	Extra
	At time.Time `json:"at"`
}

// member says that a node is one of the members, or about to be one.
type member struct {
	Extra
	Client netip.AddrPort `json:"client,omitzero"` // where it serves clients; not valid: it does not yet

	// Cluster gives where every member serves the others, by name: what the node
	// joins.
	Cluster map[string]netip.AddrPort `json:"cluster,omitempty"`
}

// issued are the certificates that the CA made for a node, the newest last. The node
// itself cannot write it, as it can its certificate.
type issued struct {
	Extra
	PEM string `json:"pem"`
}

// revoked is what the grid's CA no longer vouches for, signed by it.
type revoked struct {
	Extra
	PEM string `json:"pem"`
}

// recovery says that the registry lost most of its members, and goes on with what one
// of them had.
type recovery struct {
	Extra
	Number   uint64    `json:"number"`   // of the recovery: later ones have higher numbers
	Node     string    `json:"node"`     // whose copy it goes on with
	At       time.Time `json:"at"`       // by its clock
	Revision int64     `json:"revision"` // the last one that its copy had
}

// token is a join token that the node made, as far as it may be known.
type token struct {
	Extra
	trust.PendingToken
}
