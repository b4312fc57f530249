package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"
)

// report is what a simulation measured.
type report struct {
	options
	cold window // until every node has heard of all, when all start at once without a cache
	outcome
	skipped    int // changes that were not made, since their network had one under way
	plan       time.Duration
	plans      int
	ofSnapshot uint64 // bytes a node
	ofPlan     uint64
	idle, busy window
}

// window is what was carried during a time.
type window struct {
	period         time.Duration
	sent, received []uint64 // bytes, by node, sorted
	events         float64
	member         load          // at its end; its processor time during it
	nodes          time.Duration // processor time of the nodes' process
	resident       uint64        // bytes that it has at the end
}

// simulate makes a grid, changes it for a while, and takes it down.
func simulate(ctx context.Context, o options, tell func(format string, args ...any)) (r *report, err error) {
	dir, err := os.MkdirTemp("", "zosnet-scale-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := makeCaches(filepath.Join(dir, "caches")); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unix.Unmount(filepath.Join(dir, "caches"), unix.MNT_DETACH)) }()
	g, err := newGrid(o, dir, tell)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	debug.SetMemoryLimit(int64(256+o.nodes*memoryOfNode) << 20)
	r = &report{options: o}
	if err := g.make(ctx, r); err != nil {
		return nil, err
	}
	if r.idle, err = g.watch(func() error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(min(o.period, 20*time.Second)):
			return nil
		}
	}); err != nil {
		return nil, err
	}
	tell("%d changes a second for %v", o.rate, o.period)
	plans, took := g.planning()
	r.busy, err = g.watch(func() error {
		made, err := g.changes(ctx)
		r.outcome, r.skipped = outcomeOf(made), int(o.period.Seconds()*float64(o.rate))-len(made)
		return err
	})
	if r.why != nil {
		tell("%d changes were not stored, the first of them: %v", r.failed, r.why)
	}
	more, longer := g.planning()
	r.plans, r.plan = more-plans, longer-took
	return r, errors.Join(err, g.failures())
}

// memoryOfNode is what the program may have for each node, in MB, before its garbage
// is collected earlier than it usually is: memory that is used again costs less than
// memory that the kernel has to give.
const memoryOfNode = 8

// makeCaches keeps the nodes' caches in memory: on real nodes each has its own disk.
func makeCaches(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	// Mounts of this namespace are not to reach the machine's.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("caches", path, "tmpfs", 0, "mode=0700"); err != nil {
		return fmt.Errorf("mount a tmpfs on %s: %w", path, err)
	}
	return nil
}

// make brings the grid to where every node has planned all of its networks whole.
func (g *grid) make(ctx context.Context, r *report) error {
	ctx, cancel := context.WithTimeout(ctx, g.patience)
	defer cancel()
	begin := time.Now()
	if err := g.start(); err != nil {
		return err
	}
	g.tell("%d nodes let in after %v", len(g.nodes), since(begin))
	if err := g.load(); err != nil {
		return err
	}
	g.tell("%d networks loaded after %v", len(g.networks), since(begin))
	for _, n := range g.nodes {
		if n.holder() != n {
			continue
		}
		if err := errors.Join(n.open(ctx), n.hold(ctx), n.close()); err != nil {
			return fmt.Errorf("node %s: %w", n.name, err)
		}
	}
	empty := memory()
	var err error
	if r.cold, err = g.watch(func() error {
		if err := g.each(ctx, func(ctx context.Context, n *node) error { return n.open(ctx) }); err != nil {
			return err
		}
		return g.until(ctx, "every node has heard of all", func(n *node, networks int) bool { return n.knows(networks) })
	}); err != nil {
		return err
	}
	heard := memory()
	g.tell("all nodes have heard of all %v after they started", r.cold.period.Round(time.Second))
	if err := g.each(ctx, func(_ context.Context, n *node) error { return n.begin() }); err != nil {
		return err
	}
	if err := g.until(ctx, "every node has planned all", (*node).whole); err != nil {
		return err
	}
	g.tell("planned by all after %v", since(begin))
	r.ofSnapshot, r.ofPlan = (heard-empty)/uint64(len(g.nodes)), (memory()-heard)/uint64(len(g.nodes))
	return nil
}

func since(t time.Time) time.Duration { return time.Since(t).Round(10 * time.Millisecond) }

// until waits until something holds of every node, given how many networks it has.
func (g *grid) until(ctx context.Context, what string, holds func(n *node, networks int) bool) error {
	networks := map[*node]int{}
	for _, n := range g.networks {
		for _, at := range n.nodes {
			networks[at]++
		}
	}
	for _, n := range g.nodes {
		for !holds(n, networks[n]) {
			if err := n.failure(); err != nil {
				return fmt.Errorf("until %s: %w", what, err)
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("until %s: %s has not: %w", what, n.name, ctx.Err())
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	return nil
}

// watch measures what is carried while something is done.
func (g *grid) watch(do func() error) (w window, err error) {
	before, err := g.member.ask(order{})
	if err != nil {
		return w, err
	}
	carried, err := readTraffic()
	if err != nil {
		return w, err
	}
	_, used, err := usage()
	if err != nil {
		return w, err
	}
	begin := time.Now()
	if err := do(); err != nil {
		return w, err
	}
	w.period = time.Since(begin)
	now, err := readTraffic()
	if err != nil {
		return w, err
	}
	w.sent, w.received = now.since(carried)
	if w.member, err = g.member.ask(order{}); err != nil {
		return w, err
	}
	w.events = w.member.Events - before.Events
	w.member.Processor -= before.Processor
	resident, after, err := usage()
	w.resident, w.nodes = resident, after-used
	return w, err
}

// memory is what the program has in use, without what is only waiting to be reused.
func memory() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}
