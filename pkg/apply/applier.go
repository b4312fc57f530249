package apply

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/apply/advert"
	"github.com/zosnet/zosnet/pkg/loader"
	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/wireguard"
	"github.com/zosnet/zosnet/pkg/wireguard/device"
)

// Config is what an Applier works with.
type Config struct {
	Datapath *loader.Datapath
	RunDir   string          // where the versions of what is in the maps are noted
	Keys     *wireguard.Keys // of the overlays, by network
	Devices  *device.Devices // WireGuard's, of this namespace
	Log      *slog.Logger

	Entrances *wireguard.Keys // of the entrances, by network
}

// Result says what an Apply changed.
type Result struct {
	Changes []plan.Change // in the order in which they were made; empty: all was as planned
	Took    time.Duration

	mtu uint16 // smallest of the uplinks
}

// Applier makes the kernel match States. Its methods may be called from several
// goroutines; they take turns.
type Applier struct {
	config  Config
	ledger  *ledger
	mu      sync.Mutex
	last    *plan.State               // what Run restores
	routers map[string]*advert.Router // who advertises in a network, by its name
	missing map[string]bool           // uplinks that were named and are not there
	watched bool                      // Run is at work
	failed  bool                      // the last pass left something undone
	settled settled                   // what was made of the plan's objects
	looks   rounds                    // of Run through the workloads' namespaces
	reads   rounds                    // of Run through the overlays' devices

	nextContents time.Time // when Run reads the policies again
}

// New gives an Applier. It changes nothing before Apply.
func New(config Config) (*Applier, error) {
	ledger, err := openLedger(config.RunDir, config.Log)
	if err != nil {
		return nil, err
	}
	return &Applier{
		config: config, ledger: ledger,
		routers: map[string]*advert.Router{}, missing: map[string]bool{}, settled: newSettled(),
	}, nil
}

// Close ends the router advertisements. What was applied stays: nothing is
// withdrawn, for packets keep flowing without a daemon.
func (a *Applier) Close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, router := range a.routers {
		router.Stop()
		delete(a.routers, name)
	}
}

// Apply makes the kernel match a State. What cannot be made is in the error, object
// by object; everything else is in force when it returns.
//
// While Run is at work, what has drifted is its affair: Apply compares the State with
// the last one first, and does not look into what it has made already. Where they
// differ in nothing but peers, rules and addresses on other nodes of some networks, it
// touches these and looks at nothing else.
func (a *Applier) Apply(ctx context.Context, state plan.State) (Result, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	last := a.last
	a.last = &state
	if last != nil && a.watched && !a.failed {
		if networks, only := plan.ChangedNetworks(*last, state); only {
			if result, done, err := a.follow(ctx, *last, state, networks); done {
				return result, err
			}
		}
	}
	return a.pass(ctx, state, false)
}

// pass observes, compares and changes once: everything, but for what is in namespaces
// and devices as much as the slow check gets to. a.mu is held.
func (a *Applier) pass(ctx context.Context, state plan.State, slow bool) (Result, error) {
	begin := time.Now()
	p := a.newPass(ctx, state)
	p.slow, p.turns = slow, slow || a.watched
	if err := p.open(); err != nil {
		return Result{}, err
	}
	defer p.close()
	p.reconcile()
	a.failed = len(p.errs) > 0
	return Result{Changes: p.changes, Took: time.Since(begin), mtu: smallestMTU(p.uplinks, p.links.byIndex)}, errors.Join(p.errs...)
}

func (a *Applier) newPass(ctx context.Context, state plan.State) *pass {
	return &pass{Applier: a, ctx: ctx, want: state, made: map[string]bool{}, failed: map[string]bool{}, touched: map[uint32]bool{}, tampered: map[uint32]bool{}}
}

// pass is one comparison of the kernel with a State.
type pass struct {
	*Applier
	ctx  context.Context
	want plan.State
	slow bool // the check that Run makes
	// turns leaves what was made already in namespaces and devices to its turn.
	turns bool

	netlink   *netlink.Handle
	strict    *netlink.Handle // the kernel filters its dumps
	home      uint64          // inode of the namespace that the daemon is in
	links     *links
	addresses map[int][]netip.Prefix // of each interface, when the pass began
	programs  programs               // that were attached when it began
	uplinks   []loader.Uplink
	unguarded []loader.Uplink // that have no programs

	changes  []plan.Change
	errs     []error
	made     map[string]bool // objects that this pass added
	failed   map[string]bool // objects that something went wrong with
	touched  map[uint32]bool // networks whose flows are to be judged again
	tampered map[uint32]bool // networks whose policy somebody changed in the maps
}

func (p *pass) open() (err error) {
	if err := p.openNetlink(); err != nil {
		return err
	}
	if p.strict, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		p.close()
		return fmt.Errorf("open netlink: %w", err)
	}
	if err = p.observe(); err != nil {
		p.close()
	}
	return err
}

func (p *pass) openNetlink() (err error) {
	if p.netlink, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	return nil
}

func (p *pass) observe() (err error) {
	if err := p.strict.SetStrictCheck(true); err != nil {
		return fmt.Errorf("set netlink's strict check: %w", err)
	}
	if p.home, err = homeNamespace(); err != nil {
		return err
	}
	if p.links, err = readLinks(); err != nil {
		return err
	}
	p.addresses, err = readAddresses(p.netlink)
	return err
}

func (p *pass) close() {
	p.netlink.Close()
	if p.strict != nil {
		p.strict.Close()
	}
}
