package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/zosnet/zosnet/pkg/grid"
	"github.com/zosnet/zosnet/pkg/grid/control"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
	"github.com/zosnet/zosnet/pkg/spec"
	"github.com/zosnet/zosnet/pkg/trust"
	"github.com/zosnet/zosnet/pkg/wireguard"
	"github.com/zosnet/zosnet/pkg/wireguard/device"
)

// Ports of the grid's services on control addresses.
const (
	gridClientPort = 2379
	gridPeerPort   = 2380
)

const (
	controlKeyName = "control"
	// gridRetry is how long after a failure the node's part in the grid is tried
	// again.
	gridRetry = 5 * time.Second
	// gridEvery is how often peers are looked at although nothing was heard: tokens
	// expire.
	gridEvery = 30 * time.Second
	// registryPatience is how long the node waits for its registry to be opened, after
	// its start: with it comes what was known before.
	registryPatience = 20 * time.Second
	// memberPatience is how long a member may take to serve.
	memberPatience = time.Minute
)

// controlPlane is this node's part in a grid: its control interface, and where it is
// a member the registry and the invitation service. It comes up whenever the node is in one,
// and goes on trying; nothing of the node's own networks waits for it.
type controlPlane struct {
	home     grid.Home
	node     func() *spec.Node
	keys     *wireguard.Keys
	devices  *device.Devices
	log      *slog.Logger
	begin    chan struct{} // the node has become part of a grid
	look     chan struct{} // peers may have changed
	founded  chan struct{} // closed once the grid's first registry is there, at its founder
	place    chan struct{} // whether this node is a member may have changed
	opened   chan struct{} // the registry was opened, or opened again
	own      atomic.Pointer[identity]
	accepted chan struct{} // whose networks are carried may have changed
	version  string

	revoking sync.Mutex // held while the list of what was revoked is kept

	mu     sync.Mutex
	state  *grid.State       // nil: in no grid; what it points to never changes
	client *gridstore.Client // the last one; nil: none yet
	seat   *seat             // nil: this node administers no registry now
	up     chan struct{}     // closed once it is up
	failed error             // why it is not
}

func newControlPlane(version string, node *spec.Node, current func() *spec.Node, devices *device.Devices, log *slog.Logger) (*controlPlane, error) {
	keys, err := wireguard.OpenKeys(filepath.Join(node.StateDir, "keys"))
	if err != nil {
		return nil, err
	}
	p := &controlPlane{
		home: grid.NewHome(node.StateDir), node: current, keys: keys, devices: devices, log: log,
		begin: make(chan struct{}, 1), look: make(chan struct{}, 1), place: make(chan struct{}, 1), founded: make(chan struct{}), opened: make(chan struct{}, 1),
		accepted: make(chan struct{}, 1), version: version, up: make(chan struct{}),
	}
	if p.state, err = p.home.State(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return p, nil
}

// current gives the node's place in the grid, nil where it is in none.
func (p *controlPlane) current() *grid.State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state
}

// registry gives the grid's registry as this node knows it, nil where it is in no
// grid. It is another one after each failure.
func (p *controlPlane) registry() *gridstore.Client {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.client
}

// known gives the registry once it is open; nil when that takes too long.
func (p *controlPlane) known(ctx context.Context) *gridstore.Client {
	for deadline := time.Now().Add(registryPatience); ctx.Err() == nil && time.Now().Before(deadline); {
		if client := p.registry(); client != nil {
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
func (p *controlPlane) keep(s *grid.State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state = s
}

// became notes that the node is in a grid from now on.
func (p *controlPlane) became(s *grid.State) {
	p.keep(s)
	wake(p.begin)
}

func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run keeps the part up until ctx ends. The interface stays then.
func (p *controlPlane) run(ctx context.Context) error {
	if p.current() == nil {
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
		case <-time.After(gridRetry):
		}
	}
	return nil
}

// wait returns once the part is up, or says what it still fails at.
func (p *controlPlane) wait(ctx context.Context) error {
	select {
	case <-p.up:
		return nil
	case <-ctx.Done():
		p.mu.Lock()
		defer p.mu.Unlock()
		return fmt.Errorf("this node is in the grid, but its part is not up yet: %w", errors.Join(ctx.Err(), p.failed))
	}
}

// serve brings everything up and keeps it until something fails.
func (p *controlPlane) serve(ctx context.Context) error {
	state := p.current()
	id, err := p.readIdentity(state.Node)
	if err != nil {
		return err
	}
	if foreign(p.node()) != state.Foreign {
		return errOtherRegistry(state.Foreign)
	}
	unreachable := p.firstInterface(id, state)
	g, ctx := errgroup.WithContext(ctx)
	if unreachable == nil && !state.Foreign {
		g.Go(func() error { p.serveRegistry(ctx); return nil })
	}
	g.Go(func() error {
		if state.Founding && !state.Foreign { // a registry that is not protected yet answers anybody, and then nobody
			select {
			case <-ctx.Done():
				return nil
			case <-p.founded:
			}
		}
		return p.useRegistry(ctx, unreachable)
	})
	return g.Wait()
}

// useRegistry opens this node's copy of the registry, and keeps this node and the
// grid to each other's word. Where the grid is unreachable there is the copy alone.
func (p *controlPlane) useRegistry(ctx context.Context, unreachable error) error {
	cfg, err := p.clientConfig(p.current(), p.own.Load())
	if err != nil {
		return errors.Join(unreachable, err)
	}
	accept := p.node().Accept
	if cfg.Accept, err = trust.ParseAccept(accept); err != nil {
		return err
	}
	client, err := gridstore.Open(cfg)
	if err != nil {
		return errors.Join(unreachable, err)
	}
	defer func() { _ = client.Close() }()
	foreign := p.current().Foreign
	if foreign && unreachable == nil {
		if err := p.found(ctx, client.Root()); err != nil {
			return err
		}
	}
	p.mu.Lock()
	p.client = client // what it kept of an earlier run is there at once, whatever becomes of the rest
	p.mu.Unlock()
	if !slices.Equal(accept, p.node().Accept) { // reread meanwhile
		if err := p.reaccept(); err != nil {
			return err
		}
	}
	wake(p.opened)
	if unreachable != nil {
		return unreachable
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { client.KeepLive(ctx, gridstore.LiveTTL); return nil })
	g.Go(func() error { return p.follow(ctx, client) })
	g.Go(func() error { p.renewCertificate(ctx); return nil })
	if foreign {
		g.Go(func() error {
			p.sit(&seat{root: client.Root()})
			defer p.sit(nil)
			return p.invite(ctx, client.Root())
		})
	}
	return g.Wait()
}

// firstInterface makes the interface of what is known before the registry is there:
// the members. One that a member has already stays: taking the other nodes away
// would cut them off until the registry names them again.
func (p *controlPlane) firstInterface(id *identity, state *grid.State) error {
	is, err := p.devices.Read(control.Name(state.Node))
	if err == nil && p.isMember(state) && is.PublicKey == wireguard.PublicKey(id.ControlKey) {
		return nil
	}
	return p.putInterface(id, grid.View{Self: state.Node, Control: state.Control, Nodes: state.Members, Members: membersOf(state)})
}

// isMember says whether this node is one of the members, as far as it knows.
func (p *controlPlane) isMember(state *grid.State) bool {
	return slices.Contains(membersOf(state), state.Node)
}

func membersOf(s *grid.State) (names []string) {
	for _, m := range s.Members {
		names = append(names, m.Name)
	}
	return names
}

// clientConfig says how this node speaks to the grid's registry.
func (p *controlPlane) clientConfig(state *grid.State, id *identity) (gridstore.Config, error) {
	c := gridstore.Config{
		Node: state.Node, Key: id.key, Identity: id.Identity, Roots: id.roots, CacheFile: p.home.CacheFile(), Log: p.log,
		Endpoints: registryEndpoints(state.Members), TLS: p.registryTLS(),
	}
	if state.Foreign {
		is := p.node().Registry
		config, err := foreignTLS(is, state.Node)
		c.Endpoints, c.TLS = is.Endpoints, config
		return c, err
	}
	return c, nil
}

// registryEndpoints gives where members serve the registry's clients.
func registryEndpoints(members []grid.Node) (list []string) {
	for _, m := range members {
		list = append(list, "https://"+netip.AddrPortFrom(m.Address, gridClientPort).String())
	}
	return list
}
