package ipam_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zosnet/zosnet/pkg/ipam"
)

// clock is everybody's, and goes only forward, by whole minutes.
type clock struct{ minutes atomic.Int64 }

func (c *clock) now() time.Time     { return start.Add(time.Duration(c.minutes.Load()) * time.Minute) }
func (c *clock) pass(minutes int64) { c.minutes.Add(minutes) }

// ledger is the plain set: whose each /64 is, whoever gave it out.
type ledger struct {
	sync.Mutex
	owner  map[netip.Prefix]string
	until  map[netip.Prefix]time.Time
	claims int
	faults []string
}

func (l *ledger) claim(p netip.Prefix, owner string, now time.Time) {
	l.Lock()
	defer l.Unlock()
	switch was := l.owner[p]; {
	case was == owner:
		return
	case was != "":
		l.faults = append(l.faults, fmt.Sprintf("%s is given to %s and is %s's", p, owner, was))
	case now.Before(l.until[p]):
		l.faults = append(l.faults, fmt.Sprintf("%s is given to %s at %s and rests until %s", p, owner, now, l.until[p]))
	}
	l.owner[p] = owner
	l.claims++
}

func (l *ledger) release(p netip.Prefix, owner string, until time.Time) {
	l.Lock()
	defer l.Unlock()
	if l.owner[p] == owner {
		delete(l.owner, p)
		l.until[p] = until
	}
}

// disk is what a node finds again after it was killed. It is written as a whole.
type disk struct {
	state   ipam.State
	blocks  []netip.Prefix // as they were last seen delegated
	giving  []netip.Prefix // blocks on their way back, used no more
	desired int
}

// allocator is a node that gives /64s to networks.
type allocator struct {
	name, holder string
	grid         grid
	clock        *clock
	ledger       *ledger
	random       *rand.Rand
	disk         disk
	cutOff       int // steps until the grid can be reached again
}

var errKilled = errors.New("killed")

// commit writes the disk, or is killed before or right after it.
func (a *allocator) commit(next disk) error {
	switch a.random.IntN(30) {
	case 0:
		return errKilled
	case 1:
		a.disk = next
		return errKilled
	}
	a.disk = next
	return nil
}

// own gives the blocks that networks get /64s from.
func (a *allocator) own() ipam.Blocks {
	b, err := ipam.ParseBlocks(slices.DeleteFunc(slices.Clone(a.disk.blocks), func(p netip.Prefix) bool {
		return slices.Contains(a.disk.giving, p)
	}))
	if err != nil {
		panic(err) // delegations are IPv6
	}
	return b
}

// tell brings the ledger to what the disk says.
func (a *allocator) tell() {
	now := a.clock.now()
	for p, l := range a.disk.state.Prefixes {
		if owner := l.Network + " on " + a.name; l.Owned() {
			a.ledger.claim(p, owner, now)
		} else {
			a.ledger.release(p, owner, l.Until)
		}
	}
}

// step does one thing that a node does.
func (a *allocator) step(ctx context.Context) error {
	if a.cutOff > 0 {
		a.cutOff--
	} else if a.random.IntN(20) == 0 {
		a.cutOff = a.random.IntN(15)
	}
	if a.cutOff == 0 {
		if err := a.meet(ctx); err != nil {
			return err
		}
	}
	var err error
	switch network := fmt.Sprintf("net%d", a.random.IntN(25)); a.random.IntN(8) {
	case 0:
		a.clock.pass(int64(a.random.IntN(4)))
	case 1, 2:
		err = a.release(network)
	case 3:
		err = a.giveBack()
	default:
		err = a.allocate(network)
	}
	a.tell()
	return err
}

// meet reads the delegations and says what is wanted.
func (a *allocator) meet(ctx context.Context) error {
	r, err := a.grid.read(ctx)
	if err != nil {
		return err
	}
	next := a.disk
	next.blocks = r.holdings[a.holder].Of(a.name)
	next.giving = slices.DeleteFunc(slices.Clone(a.disk.giving), func(p netip.Prefix) bool { return !slices.Contains(next.blocks, p) })
	if err := a.commit(next); err != nil {
		return err
	}
	request := ipam.Request{Holder: a.holder, Blocks: a.disk.desired, Bits: 60, Release: a.disk.giving}
	if old, asked := r.requests[a.name]; asked && encode(old) == encode(request) {
		return nil
	}
	_, err = a.grid.Put(ctx, requestKey(a.name), encode(requestValue{1, request}))
	return err
}

func (a *allocator) allocate(network string) error {
	now := a.clock.now()
	state, p, err := a.disk.state.Allocate(a.own(), network, a.name, now)
	var exhausted *ipam.ExhaustedError
	next := a.disk
	switch {
	case errors.As(err, &exhausted):
		next.desired = min(len(a.own().Prefixes())+1, 6)
		return a.commit(next)
	case err != nil:
		return err
	}
	next.state = state
	if err := a.commit(next); err != nil {
		return err
	}
	a.ledger.claim(p, network+" on "+a.name, now)
	return nil
}

func (a *allocator) release(network string) error {
	next := a.disk
	next.state = next.state.Release(network, a.clock.now())
	return a.commit(next)
}

// giveBack begins to return a block that nothing is in.
func (a *allocator) giveBack() error {
	idle := a.disk.state.Idle(a.own(), a.clock.now())
	if len(idle) == 0 {
		return nil
	}
	next := a.disk
	next.giving = append(slices.Clone(next.giving), idle[a.random.IntN(len(idle))])
	next.desired = len(a.own().Prefixes()) - 1
	return a.commit(next)
}
