package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zosnet/zosnet/pkg/grid"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
	"github.com/zosnet/zosnet/pkg/spec"
	"github.com/zosnet/zosnet/pkg/trust"
	"github.com/zosnet/zosnet/pkg/wireguard"
	"github.com/zosnet/zosnet/pkg/wireguard/device"
)

const (
	controlKeyName = "control"
	// retryAfter is how long after a failure the node's part in the grid is tried
	// again.
	retryAfter = 5 * time.Second
	// registryPatience is how long the node waits for its registry to be opened, after
	// its start: with it comes what was known before.
	registryPatience = 20 * time.Second
)

// Config is what a Plane needs to know.
type Config struct {
	Version string            // of this program, for the node's record
	Node    func() *spec.Node // node.yaml as it is now; its name and directories never change
	Devices *device.Devices
	Log     *slog.Logger
}

// Plane is this node's part in a grid. Its methods may be called from several
// goroutines.
type Plane struct {
	home     grid.Home
	node     func() *spec.Node
	keys     *wireguard.Keys
	devices  *device.Devices
	log      *slog.Logger
	begin    chan struct{} // the node has become part of a grid
	look     chan struct{} // peers may have changed
	founded  chan struct{} // closed once the grid's first registry is there, at its founder
	place    chan struct{} // whether this node is a member may have changed
	alone    chan struct{} // this member is to be the only one
	opened   chan struct{} // the registry was opened, or opened again
	own      atomic.Pointer[identity]
	accepted chan struct{} // whose networks are carried may have changed
	version  string

	entering    sync.Mutex // held while this node makes a grid or is let into one: both write the same files
	admitting   sync.Mutex // held while a node is let in
	changing    sync.Mutex // held while the node's place is changed
	credentials sync.Mutex // held while what the node proves itself by, and whom it believes, is read from its files or written

	mu       sync.Mutex
	state    *grid.State               // nil: in no grid; what it points to never changes
	client   *gridstore.Client         // the last one; nil: none yet
	member   *registry.Member          // that runs here, whether it serves or not; nil: none
	seat     *seat                     // nil: this node administers no registry now
	up       chan struct{}             // closed once it is up
	peers    map[trust.ControlKey]bool // of the control interface, as it was last made
	inviting bool                      // the invitation service listens
	noted    chan struct{}             // closed when one of these two changes, and then another one
	failed   error                     // why it is not
}

// New gives the part of a node, as its state directory has it: one that is in no grid
// yet, too. Nothing is done before Run.
func New(c Config) (*Plane, error) {
	stateDir := c.Node().StateDir
	keys, err := wireguard.OpenKeys(filepath.Join(stateDir, "keys"))
	if err != nil {
		return nil, err
	}
	p := &Plane{
		home: grid.NewHome(stateDir), node: c.Node, keys: keys, devices: c.Devices, log: c.Log,
		begin: make(chan struct{}, 1), look: make(chan struct{}, 1), place: make(chan struct{}, 1), alone: make(chan struct{}, 1), founded: make(chan struct{}), opened: make(chan struct{}, 1),
		accepted: make(chan struct{}, 1), version: c.Version, up: make(chan struct{}), noted: make(chan struct{}),
	}
	if p.state, err = p.home.State(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return p, nil
}

// State gives the node's place in the grid, nil where it is in none. What it points to
// never changes.
func (p *Plane) State() *grid.State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state
}

// Registry gives the grid's registry as this node knows it, nil where it is in no grid
// or the registry has not been opened yet. It is another one after each failure.
func (p *Plane) Registry() *gridstore.Client {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.client
}

// Known gives the registry once it is open; nil when that takes too long.
func (p *Plane) Known(ctx context.Context) *gridstore.Client {
	for deadline := time.Now().Add(registryPatience); ctx.Err() == nil && time.Now().Before(deadline); {
		if client := p.Registry(); client != nil {
			return client
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// keep notes what the node's place in the grid is from now on.
func (p *Plane) keep(s *grid.State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state = s
}

// change changes what is kept of the node's place for the next start, and gives it; one
// change at a time, or one would take another back.
func (p *Plane) change(how func() (*grid.State, error)) (*grid.State, error) {
	p.changing.Lock()
	defer p.changing.Unlock()
	next, err := how()
	if err == nil {
		p.keep(next)
	}
	return next, err
}

// became notes that the node is in a grid from now on.
func (p *Plane) became(s *grid.State) {
	p.keep(s)
	wake(p.begin)
}

func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Opened tells that the registry was opened, or opened again: Registry gives another one.
func (p *Plane) Opened() <-chan struct{} { return p.opened }

// Accepted tells that whose networks this node carries may have changed.
func (p *Plane) Accepted() <-chan struct{} { return p.accepted }

// Reread takes what node.yaml says of this node and of whose networks it carries anew.
func (p *Plane) Reread() error {
	if err := p.reaccept(); err != nil {
		return err
	}
	wake(p.look) // the grid is told
	return nil
}

// Failure is why the part is not up; nil: it is, or has not failed yet.
func (p *Plane) Failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed
}

// Run keeps the part up until ctx ends. The interface stays then.
func (p *Plane) Run(ctx context.Context) error {
	if p.State() == nil {
		select {
		case <-ctx.Done():
			return nil
		case <-p.begin:
		}
	}
	for ctx.Err() == nil {
		if err := p.serve(ctx); ctx.Err() == nil {
			p.mu.Lock()
			p.failed = err
			p.mu.Unlock()
			p.log.Error("this node's part in the grid; it is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryAfter):
		}
	}
	return nil
}

// Wait returns once the part is up, or says what it still fails at.
func (p *Plane) Wait(ctx context.Context) error {
	select {
	case <-p.up:
		return nil
	case <-ctx.Done():
		p.mu.Lock()
		defer p.mu.Unlock()
		return fmt.Errorf("this node is in the grid, but its part is not up yet; it is tried again, see zosnet status: %w", errors.Join(ctx.Err(), p.failed))
	}
}
