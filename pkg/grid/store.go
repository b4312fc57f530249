package grid

import (
	"context"
	"errors"
	"net/netip"

	"github.com/zosnet/zosnet/pkg/trust"
)

var (
	// ErrNameTaken says that a node of this name is in the grid already.
	ErrNameTaken = errors.New("a node of this name is in the grid already: choose another name, or take that node out first with zosnet node remove")
	// ErrKeyTaken says that another node has this control key.
	ErrKeyTaken = errors.New("another node has this control key: remove it and join with a new one")
	// ErrStale says that what a change was computed from has changed meanwhile:
	// it is computed again.
	ErrStale = errors.New("others changed it meanwhile")
)

// Store is what the invitation service reads and changes in the grid's registry.
type Store struct {
	// Token gives a token that this node made, nil where it made none of that id.
	Token func(ctx context.Context, id string) (*trust.PendingToken, error)
	// Nodes gives every node of the grid, believed or not: their names, addresses
	// and keys are taken.
	Nodes func(ctx context.Context) ([]Node, error)
	// Members names the members that serve.
	Members func(ctx context.Context) ([]string, error)
	// IsMember says whether a node is one of the members, or is about to be or to
	// cease being one: who loses its certificate of a member clears its part of the
	// registry away.
	IsMember func(ctx context.Context, node string) (bool, error)
	// Certificate gives a node's newest certificate, PEM.
	Certificate func(ctx context.Context, node string) ([]byte, error)
	// Admit lets a node in, by one transaction: it fails with ErrStale unless the
	// token is still unused and neither name nor address is taken.
	Admit func(ctx context.Context, a Admission) error
	// Renew puts a new certificate of a node before those that it has, by one
	// transaction: it fails with ErrStale unless the node is still there.
	Renew func(ctx context.Context, node string, controlKey trust.ControlKey, certificate []byte) error
}

// Admission is a node that is let in.
type Admission struct {
	Token       trust.PendingToken // used
	Node        string
	Address     netip.Addr
	ControlKey  trust.ControlKey
	Certificate []byte // PEM
}
