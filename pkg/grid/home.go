package grid

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/zosnet/zosnet/pkg/trust"
)

// ControlPort is the UDP port of control interfaces: below those of tenant
// networks, and of those that Linux gives to clients.
const ControlPort = 20479

const (
	formatVersion = 1

	stateFile       = "grid.json"
	nodeKeyFile     = "node.key"
	certificateFile = "node.pem"
	casFile         = "ca.pem"
	caKeyFile       = "ca.key"
	ownCAFile       = "own-ca.pem"
	revocationsFile = "revoked.crl" // DER: etcd reads it too
)

// Home is where a node keeps what makes it part of a grid: STATEDIR/grid, readable
// by its owner alone. It appears as a whole, once the node is in: until then its
// draft, STATEDIR/grid.new, holds the node's key, so that who asks again after a
// crash is the same.
type Home struct{ dir, draft string }

// NewHome gives the home in a state directory. Nothing is made yet.
func NewHome(stateDir string) Home {
	return Home{filepath.Join(stateDir, "grid"), filepath.Join(stateDir, "grid.new")}
}

// State is what a node knows of its place in the grid when it starts. Of the
// members it is what was last heard.
type State struct {
	Version int          `json:"version"`
	Node    string       `json:"node"`
	Control netip.Prefix `json:"control"`
	Address netip.Addr   `json:"address"`
	Members []Node       `json:"members"`

	// Founding says that this node's registry is the grid's first and not there yet.
	// Nothing else makes a new one: a member that lost its directory must not.
	Founding bool `json:"founding,omitempty"`

	// Recovering says that this member is to be the only one, with what it has: nobody is
	// served before that is done. Recovery is the number of the recovery since which its
	// part of the registry is one, 0: of none.
	Recovering bool   `json:"recovering,omitempty"`
	Recovery   uint64 `json:"recovery,omitempty"`

	// Foreign says that somebody else runs the grid's registry. Its members are then
	// those that let nodes in.
	Foreign bool `json:"foreign,omitempty"`
}

// errInGrid says that a node that is in a grid cannot make or join one.
var errInGrid = errors.New("this node is in a grid already: to leave it, stop the daemon and move STATEDIR/grid away")

// State gives the node's place; an error that wraps fs.ErrNotExist: it is in none.
func (h Home) State() (*State, error) {
	text, err := os.ReadFile(filepath.Join(h.dir, stateFile))
	if err != nil {
		return nil, fmt.Errorf("read the node's place in the grid: %w", err)
	}
	var s State
	err = json.Unmarshal(text, &s)
	if err == nil && (s.Version != formatVersion || !s.Control.Contains(s.Address)) {
		err = fmt.Errorf("version %d, control address %v", s.Version, s.Address)
	}
	if err != nil {
		return nil, fmt.Errorf("read the node's place in the grid: %s is broken: %w", filepath.Join(h.dir, stateFile), err)
	}
	return &s, nil
}

// SetMembers keeps who the members are, for the next start, and gives the state
// that it is part of.
func (h Home) SetMembers(members []Node) (*State, error) {
	return h.change(func(s *State) { s.Members = members })
}

// SetFounded notes that the grid's first registry is there.
func (h Home) SetFounded() (*State, error) {
	return h.change(func(s *State) { s.Founding = false })
}

// SetRecovering notes that this member is to be the only one.
func (h Home) SetRecovering() (*State, error) {
	return h.change(func(s *State) { s.Recovering = true })
}

// SetRecovered notes that this member is the only one, since a recovery.
func (h Home) SetRecovered(recovery uint64, self Node) (*State, error) {
	return h.change(func(s *State) { s.Recovering, s.Recovery, s.Members = false, recovery, []Node{self} })
}

// SetRecovery notes since which recovery the registry is one that this node is about to
// be a member of.
func (h Home) SetRecovery(recovery uint64) (*State, error) {
	return h.change(func(s *State) { s.Recovery = recovery })
}

func (h Home) change(make func(*State)) (*State, error) {
	s, err := h.State()
	if err != nil {
		return nil, err
	}
	make(s)
	return s, h.replace(stateFile, encodeState(*s))
}

func encodeState(s State) []byte {
	s.Version = formatVersion
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic(err) // names, addresses and keys
	}
	return append(text, '\n')
}

// Draft begins, or goes on, with making this node part of a grid: it gives the key
// that the node will have.
func (h Home) Draft() (*trust.NodeKey, error) {
	if _, err := os.Stat(h.dir); !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(errInGrid, err)
	}
	if err := os.MkdirAll(h.draft, 0o700); err != nil {
		return nil, fmt.Errorf("make the grid's directory: %w", err)
	}
	path := filepath.Join(h.draft, nodeKeyFile)
	text, err := trust.ReadPrivate(path)
	if err == nil {
		return trust.ParseNodeKey(text)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key, err := trust.NewNodeKey()
	if err != nil {
		return nil, err
	}
	if text, err = key.PEM(); err != nil {
		return nil, err
	}
	return key, trust.WritePrivate(path, text)
}

// Joined makes the draft the home of a node that was let in.
func (h Home) Joined(node string, m *Membership) error {
	return h.settle(map[string][]byte{
		certificateFile: m.Certificate, casFile: m.Roots.PEM(),
		stateFile: encodeState(State{Node: node, Control: m.Control, Address: m.Address, Members: m.Members, Foreign: m.Foreign}),
	}, nil)
}

// Found makes a grid, and the draft the home of its first node: a member that can
// let others in. Its control network and its CA are new. Foreign: somebody else runs
// its registry.
func (h Home) Found(node string, control trust.ControlKey, endpoint netip.AddrPort, foreign bool, now time.Time) (*State, error) {
	key, err := h.Draft()
	if err != nil {
		return nil, err
	}
	prefix, err := NewControlPrefix()
	if err != nil {
		return nil, err
	}
	address, err := Address(prefix, node, func(netip.Addr) bool { return false })
	if err != nil {
		return nil, err
	}
	ca, err := trust.NewCA(now)
	if err != nil {
		return nil, err
	}
	caKey, err := ca.KeyPEM()
	if err != nil {
		return nil, err
	}
	certificate, err := issueMember(ca, Candidate{node, key, control}, address, now)
	if err != nil {
		return nil, err
	}
	roots, err := trust.ParseRoots(ca.CertificatePEM())
	if err != nil {
		return nil, err
	}
	roots, _, err = ca.Revoke(roots, now) // of nobody: from the first day there is a list to look at
	if err != nil {
		return nil, err
	}
	state := State{Version: formatVersion, Node: node, Control: prefix, Address: address, Founding: true, Foreign: foreign,
		Members: []Node{{Name: node, Address: address, ControlKey: control, Endpoint: endpoint}}}
	return &state, h.settle(map[string][]byte{
		stateFile: encodeState(state), casFile: ca.CertificatePEM(), ownCAFile: ca.CertificatePEM(), certificateFile: certificate,
		revocationsFile: roots.RevocationsDER(),
	}, map[string][]byte{caKeyFile: caKey})
}

func issueMember(ca *trust.CA, c Candidate, address netip.Addr, now time.Time) ([]byte, error) {
	text, err := c.Key.Request(c.Node, c.ControlKey)
	if err != nil {
		return nil, err
	}
	request, err := trust.ParseRequest(text)
	if err != nil {
		return nil, err
	}
	return ca.IssueMember(request, address, now)
}
