package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// change is a revision that is on its way to the network's nodes.
type change struct {
	revision uint64
	begun    time.Time
	stored   time.Duration
	heard    time.Duration // by the last node
	planned  time.Duration // by the last node
	left     int           // nodes that have not planned it
	done     chan struct{}
}

// planned notes that a node has a revision in its plan. A node may have skipped one
// that a later revision replaced.
func (g *grid) planned(name string, revision uint64, heard, planned time.Time) {
	n := g.networks[indexOf(name)]
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.change
	if c == nil || revision != c.revision {
		return
	}
	c.heard, c.planned = max(c.heard, heard.Sub(c.begun)), planned.Sub(c.begun)
	if c.left--; c.left == 0 {
		n.change = nil
		close(c.done)
	}
}

func indexOf(name string) (i int) {
	_, _ = fmt.Sscanf(name, "net-%d", &i)
	return i
}

// changes applies documents at the rate that was asked for, each at a node of its own
// network, and gives what became of them. A network that has a change under way is not
// changed again: its turn goes to another.
func (g *grid) changes(ctx context.Context) (list []*change, err error) {
	random := rand.New(rand.NewPCG(3, 4))
	order := random.Perm(len(g.networks))
	tick := time.NewTicker(time.Second / time.Duration(g.rate))
	defer tick.Stop()
	var group sync.WaitGroup
	var mu sync.Mutex
	note := func(e error) {
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			err = e
		}
	}
	for i := range int(g.period.Seconds() * float64(g.rate)) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		n := g.networks[order[i%len(order)]]
		at := n.nodes[random.IntN(len(n.nodes))]
		c := n.begin()
		if c == nil {
			continue
		}
		list = append(list, c)
		group.Go(func() {
			if err := g.apply(ctx, n, at); err != nil {
				note(err)
				return
			}
			n.mu.Lock()
			c.stored = time.Since(c.begun)
			n.mu.Unlock()
		})
	}
	group.Wait()
	if err != nil {
		return list, err // what was not stored never comes to be planned
	}
	ctx, cancel := context.WithTimeout(ctx, g.patience)
	defer cancel()
	for _, c := range list {
		select {
		case <-c.done:
		case <-ctx.Done():
			note(fmt.Errorf("a change to revision %d has not reached %d of the network's nodes", c.revision, c.left))
			return list, err
		}
	}
	return list, err
}

// begin begins a change, nil if one is under way.
func (n *network) begin() *change {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.change != nil {
		return nil
	}
	n.change = &change{revision: n.revision + 1, begun: time.Now(), left: len(n.nodes), done: make(chan struct{})}
	return n.change
}

// times are durations of many things of one kind, sorted.
type times []time.Duration

func timesOf(list []*change, of func(*change) time.Duration) times {
	t := make(times, len(list))
	for i, c := range list {
		t[i] = of(c)
	}
	slices.Sort(t)
	return t
}

// at gives a quantile.
func (t times) at(q float64) time.Duration {
	if len(t) == 0 {
		return 0
	}
	return t[min(len(t)-1, int(q*float64(len(t))))]
}

// planning gives how often the nodes have planned, and how long that took them.
func (g *grid) planning() (plans int, took time.Duration) {
	for _, n := range g.nodes {
		n.mu.Lock()
		plans, took = plans+n.plans, took+n.took
		n.mu.Unlock()
	}
	return plans, took
}

// failures gives what went wrong at nodes.
func (g *grid) failures() error {
	var errs []error
	for _, n := range g.nodes {
		if err := n.failure(); err != nil {
			errs = append(errs, fmt.Errorf("node %s: %w", n.name, err))
		}
	}
	return errors.Join(errs...)
}
