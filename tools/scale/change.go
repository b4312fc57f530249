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
	network  *network
	revision uint64
	begun    time.Time
	stored   time.Duration
	heard    time.Duration // by the last node
	planned  time.Duration // by the last node
	left     int           // nodes that have not planned it
	failed   error         // why it was not stored; nil: it was
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
	c.heard, c.planned = max(c.heard, heard.Sub(c.begun)), max(c.planned, planned.Sub(c.begun))
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
// changed again: its turn goes to another. What has not come to be planned everywhere
// after a while is late, and not waited for.
func (g *grid) changes(ctx context.Context) ([]*change, error) {
	random := rand.New(rand.NewPCG(3, 4))
	order := random.Perm(len(g.networks))
	var list []*change
	var group sync.WaitGroup
	begin := time.Now()
	for i := range int(g.period.Seconds() * float64(g.rate)) {
		select {
		case <-time.After(time.Until(begin.Add(time.Duration(i) * time.Second / time.Duration(g.rate)))):
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
		group.Go(func() { n.note(c, g.apply(ctx, n, at)) })
	}
	group.Wait()
	over := time.After(lateness)
	for _, c := range list {
		select {
		case <-c.done:
		case <-over:
			return list, nil // and the others that are done are so already
		case <-ctx.Done():
			return list, ctx.Err()
		}
	}
	return list, nil
}

// lateness is how long after the last change was stored none is waited for any more.
const lateness = 20 * time.Second

// note notes that a change was stored, or why it was not.
func (n *network) note(c *change, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c.stored, c.failed = time.Since(c.begun), err
}

// outcome is what became of changes.
type outcome struct {
	whole  []*change // that are in the plan of every node of their network
	late   int       // stored, and not yet there
	failed int       // not stored
	why    error     // the first of those was not
}

func outcomeOf(list []*change) (o outcome) {
	for _, c := range list {
		c.network.mu.Lock()
		switch {
		case c.failed != nil:
			o.failed++
			if o.why == nil {
				o.why = fmt.Errorf("network %s: %w", c.network.name, c.failed)
			}
		case c.left > 0:
			o.late++
		default:
			o.whole = append(o.whole, c)
		}
		c.network.mu.Unlock()
	}
	return o
}

// begin begins a change, nil if one is under way.
func (n *network) begin() *change {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.change != nil {
		return nil
	}
	n.change = &change{network: n, revision: n.revision + 1, begun: time.Now(), left: len(n.nodes), done: make(chan struct{})}
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
