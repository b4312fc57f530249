package ipam_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/zosnet/zosnet/pkg/ipam"
)

const (
	allocators = 64
	chaosTime  = 8 * time.Second
	chaosSteps = 400 // of each allocator
)

// TestAllocatorsUnderChaos runs 64 nodes that give /64s to networks, and two
// holders that give blocks to nodes, each holder by two daemons at once, as when one
// does not know yet that it has been replaced. Nodes are killed at any moment
// and cut off for a while, some for good. A plain set is told who has what: no /64
// is given twice, or before it has rested, and in the end nothing is lost.
func TestAllocatorsUnderChaos(t *testing.T) {
	g := startGrid(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	holders := map[string]netip.Prefix{"gw1": prefix("2001:db8:1::/53"), "gw2": prefix("2001:db8:2::/54")}
	for holder, p := range holders {
		if _, err := g.Put(ctx, prefixKey(holder, p), `{"version":1}`); err != nil {
			t.Fatal(err)
		}
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	clock := &clock{}
	plain := &ledger{owner: map[netip.Prefix]string{}, until: map[netip.Prefix]time.Time{}}

	answering, stopAnswering := context.WithCancel(ctx)
	var daemons, nodes sync.WaitGroup
	for holder := range holders {
		for range 2 {
			daemons.Go(func() { answer(answering, t, g, holder, clock) })
		}
	}
	all := make([]*allocator, allocators)
	for i := range all {
		all[i] = &allocator{
			name: fmt.Sprintf("n%d", i), holder: fmt.Sprintf("gw%d", i%2+1), grid: g, clock: clock, ledger: plain,
			random: rand.New(rand.NewPCG(seed, uint64(i))),
		}
		nodes.Go(func() { all[i].run(ctx, t, i < 4) })
	}
	nodes.Wait()
	if plain.claims < 10*allocators {
		t.Errorf("only %d /64s were given out: too few to say anything", plain.claims)
	}
	t.Logf("%d /64s given out in %s", plain.claims, clock.now().Sub(start))

	for _, a := range all[4:] {
		nodes.Go(func() { a.finish(ctx, t) })
	}
	nodes.Wait()
	stopAnswering()
	daemons.Wait()
	for _, fault := range plain.faults {
		t.Error(fault)
	}
	for p, owner := range plain.owner {
		t.Errorf("%s is %s's for ever", p, owner)
	}
	clock.pass(int64(ipam.Rest / time.Minute))
	r, err := g.read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for holder, p := range holders {
		every := 1 << (60 - p.Bits())
		if _, got, err := r.holdings[holder].Delegate("heir", every, 60, clock.now()); err != nil || len(got) != every {
			t.Errorf("of %s's %d blocks %d are left: %v", holder, every, len(got), err)
		}
	}
}

// answer is a holder's daemon: it reads, is slow now and then, and writes.
func answer(ctx context.Context, t *testing.T, g grid, holder string, clock *clock) {
	for ctx.Err() == nil {
		r, err := g.read(ctx)
		if err == nil {
			before := r.holdings[holder]
			after, _ := before.Answer(r.requests, clock.now()) // depleted now and then: others get theirs
			time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
			err = g.write(ctx, r, before, after)
		}
		if err != nil && !errors.Is(err, errStale) && ctx.Err() == nil {
			t.Errorf("%s: %v", holder, err)
			return
		}
	}
}

// run takes steps for a while. A node that is doomed then is gone for good, and
// somebody removes it.
func (a *allocator) run(ctx context.Context, t *testing.T, doomed bool) {
	until := time.Now().Add(chaosTime)
	for range chaosSteps {
		if err := a.step(ctx); err != nil && !errors.Is(err, errKilled) {
			t.Errorf("%s: %v", a.name, err)
			return
		}
		if time.Now().After(until) || doomed && a.random.IntN(100) == 0 {
			break
		}
	}
	if !doomed {
		return
	}
	a.tell()
	if _, err := a.grid.Delete(ctx, requestKey(a.name)); err != nil {
		t.Errorf("remove %s: %v", a.name, err)
	}
	err := a.grid.change(ctx, a.holder, func(_ reading, h ipam.Holding) (ipam.Holding, error) {
		now := a.clock.now()
		for p, l := range a.disk.state.Prefixes {
			a.ledger.release(p, l.Network+" on "+a.name, now.Add(ipam.Rest))
		}
		return h.RemoveNode(a.name, now), nil
	})
	if err != nil {
		t.Errorf("remove %s: %v", a.name, err)
	}
}

// finish gives everything back.
func (a *allocator) finish(ctx context.Context, t *testing.T) {
	for n := range 25 {
		for a.release(fmt.Sprintf("net%d", n)) != nil { // killed: again
		}
	}
	a.tell()
	for empty := 0; ctx.Err() == nil; {
		next := a.disk
		next.giving, next.desired = next.blocks, 0
		if a.commit(next) == nil && a.meet(ctx) == nil && len(a.disk.blocks) == 0 {
			if empty++; empty == 2 { // seen after the request that asks for none
				return
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Errorf("%s has %s still", a.name, a.disk.blocks)
}
