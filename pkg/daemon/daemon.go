package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/apply"
	"github.com/zosnet/zosnet/pkg/controlplane"
	"github.com/zosnet/zosnet/pkg/delegation"
	"github.com/zosnet/zosnet/pkg/loader"
	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/resolver"
	"github.com/zosnet/zosnet/pkg/telemetry"
	"github.com/zosnet/zosnet/pkg/wireguard/device"
)

// callGrace is how long calls may go on once the daemon is asked to end.
const callGrace = 2 * time.Second

// Config is what Run needs to know.
type Config struct {
	NodeFile string
	Version  string
	Log      io.Writer
}

// Daemon is a running daemon.
type Daemon struct {
	version string
	started time.Time
	log     *slog.Logger
	file    nodeFile

	datapath       *loader.Datapath
	store          *registry.Store
	applier        *apply.Applier
	events         *telemetry.Events
	metrics        *telemetry.Metrics
	enforcer       *enforcer
	documents      decoder
	plans          plan.Memo
	control        *controlplane.Plane
	space          *delegation.Space
	grid           *membership
	schedule       *schedule
	rotated        chan struct{} // overlays changed, or what goes over which
	sessions       *sessions
	calls          *calls
	entrances      *entrances
	configurations *configurations
	resolvers      resolvers
	service        supervisor

	// change is held while something is checked against the registry and then
	// written to it, so that nothing comes between.
	change sync.Mutex

	// learning is held while learned addresses are stored or given back.
	learning sync.Mutex

	deadlines chan time.Time // of trials, for followTrial
	planned   sync.Once
	hasPlan   chan struct{}  // closed once there is a first view
	hangups   chan os.Signal // SIGHUP
	reloaded  chan struct{}  // node.yaml was read anew, for followGrid

	mu       sync.Mutex
	view     view // of the last enforcement
	repaired uint64
}

// Run runs the daemon until ctx ends, and leaves everything enforced. It refuses
// before it touches anything: a *NodeError for a node.yaml that cannot be used,
// a *registry.LockedError for a state directory in use.
func Run(ctx context.Context, c Config) (err error) {
	log := slog.New(slog.NewTextHandler(c.Log, nil))
	d := &Daemon{
		version: c.Version, started: time.Now(), log: log, service: supervisor{log},
		deadlines: make(chan time.Time, 1), hasPlan: make(chan struct{}), hangups: make(chan os.Signal, 1),
		reloaded: make(chan struct{}, 1), rotated: make(chan struct{}, 1),
	}
	signal.Notify(d.hangups, unix.SIGHUP) // from the first moment: unhandled it would end the process
	defer signal.Stop(d.hangups)
	d.file.path = c.NodeFile
	node, err := readNode(c.NodeFile)
	if err != nil {
		return err
	}
	d.file.current.Store(node)
	held, err := lockDirectories(node)
	if err != nil {
		return err
	}
	defer held.release()

	// Lockdown first: it must stand whatever becomes of the rest.
	if d.datapath, err = loader.Open(loader.Options{BPFFS: node.BPFFS, Log: log}); err != nil {
		return fmt.Errorf("open the datapath: %w; `zosnet doctor` tells what this machine lacks", err)
	}
	defer func() { err = errors.Join(err, d.datapath.Close()) }()
	if err := d.datapath.LockDown(node.Uplinks, node.Lockdown.Allow); err != nil {
		return fmt.Errorf("lock the uplinks down: %w", err)
	}
	devices, err := device.Open(device.Config{RunDir: node.RunDir, Log: log})
	if err != nil {
		return err
	}
	defer devices.Close()
	d.sessions, d.calls = newSessions(devices), newCalls()
	if d.grid, err = openMembership(node.StateDir); err != nil {
		return err
	}
	if d.schedule, err = openSchedule(node.StateDir); err != nil {
		return err
	}
	if d.entrances, err = openEntrances(node.StateDir); err != nil {
		return err
	}
	if d.configurations, err = openConfigurations(node.StateDir); err != nil {
		return err
	}
	d.applier, err = apply.New(apply.Config{
		Datapath: d.datapath, RunDir: node.RunDir, Keys: d.grid.keys, Entrances: d.entrances.keys, Devices: devices, Log: log,
	})
	if err != nil {
		return err
	}
	defer d.applier.Close()
	d.resolvers.processes = resolver.Open(filepath.Join(node.RunDir, resolversDir), log)
	if d.store, err = registry.Open(ctx, node.StateDir, log); err != nil {
		return fmt.Errorf("%w; lockdown is in force, and so is what was enforced before", err)
	}
	defer func() { err = errors.Join(err, d.store.Close()) }()
	if d.control, err = controlplane.New(controlplane.Config{Version: c.Version, Node: d.file.node, Devices: devices, Log: log}); err != nil {
		return err
	}
	d.space = delegation.New(delegation.Config{
		Node: d.file.node, Store: d.store, Change: &d.change, InGrid: d.inGrid, Grid: d.control.Registry, Uplinks: d.uplinkNames, Log: log,
	})
	return d.run(ctx)
}

// run serves until ctx ends or a part of the daemon fails.
func (d *Daemon) run(ctx context.Context) error {
	runDir := d.file.node().RunDir
	calls, err := api.Listen(filepath.Join(runDir, "zosnet.sock"))
	if err != nil {
		return err
	}
	scrapes, err := telemetry.Listen(filepath.Join(runDir, "metrics.sock"))
	if err != nil {
		return errors.Join(err, calls.Close())
	}
	d.enforcer = newEnforcer(d.log, d.enforce)
	d.observe()

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return api.Serve(ctx, calls, d, codeOf, callGrace) })
	g.Go(func() error { return telemetry.Serve(ctx, scrapes, d.metrics.Handler(d.log)) })
	g.Go(func() error { return d.readEvents(ctx) })
	g.Go(func() error { d.enforcer.run(ctx); return nil })
	g.Go(func() error { return d.followRegistry(ctx) })
	g.Go(func() error { return d.followResolvers(ctx) })
	g.Go(func() error { return d.applier.Run(ctx, apply.Hooks{Repaired: d.onRepair, MTU: d.onMTU}) })
	g.Go(func() error { return d.service.watch(ctx, d.alive) })
	g.Go(func() error { return d.followTrial(ctx) })
	g.Go(func() error { return d.sweepFlows(ctx) })
	g.Go(func() error { return d.releaseUnused(ctx) })
	g.Go(func() error { return d.followSignals(ctx) })
	g.Go(func() error { return d.begin(ctx) })
	g.Go(func() error { return d.control.Run(ctx) })
	g.Go(func() error { return d.followGrid(ctx) })
	g.Go(func() error { return d.followRotations(ctx) })
	g.Go(func() error { return d.followSessions(ctx) })
	g.Go(func() error { return d.followCalls(ctx) })
	g.Go(func() error {
		<-ctx.Done()
		d.service.stopping()
		return nil
	})
	return g.Wait()
}

// begin brings about the first enforcement and says that the daemon is there,
// also where not everything could be enforced: it is tried again, and what was
// enforced before still is.
func (d *Daemon) begin(ctx context.Context) error {
	d.adoptLearned(ctx)
	failed := d.enforcer.wait(ctx, d.enforcer.request())
	if ctx.Err() == nil {
		d.log.Info("ready", "node", d.file.node().Name, "version", d.version, "enforced", failed == nil)
		d.service.ready(enforcedText(failed))
	}
	return nil
}

// enforcedText says in a line how an enforcement ended.
func enforcedText(err error) string {
	if err != nil {
		return "not everything is enforced: see zosnet status"
	}
	return "everything is enforced"
}

// wake tells whoever reads c that there is something to do. Any number of times before
// it is read are one.
func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
