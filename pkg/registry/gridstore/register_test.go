package gridstore

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zosnet/zosnet/pkg/ipam"
)

// hold registers a prefix as a node's daemon does.
func (c *Client) hold(ctx context.Context, p netip.Prefix) error {
	_, err := c.UpdateHolding(ctx, func(h ipam.Holding, from *Others) (ipam.Holding, error) {
		others, err := from.Holdings()
		if err != nil {
			return h, err
		}
		return h.Register(ipam.Registration{Prefix: p, Holder: c.cfg.Node, Registered: time.Now()}, others, time.Now())
	})
	return err
}

// TestRegisterAtOnce: of twenty nodes that register overlapping prefixes at one moment
// exactly one has it, and each other is told who. Prefixes that do not overlap do not
// stand in each other's way.
func TestRegisterAtOnce(t *testing.T) {
	t.Parallel()
	const nodes = 20
	g := single(t, nodes)
	var clients []*Client
	for n := 1; n <= nodes; n++ {
		clients = append(clients, g.open(n))
	}
	for round := range 3 {
		start := make(chan struct{})
		var registered atomic.Int32
		var refused sync.Map
		var wait sync.WaitGroup
		for i, c := range clients {
			// Each holds 2001:db8:ROUND::/48, or is held by it.
			p, err := netip.MustParseAddr(fmt.Sprintf("2001:db8:%x::", round<<8)).Prefix(40 + i)
			g.ok(err)
			wait.Go(func() {
				<-start
				err := c.hold(t.Context(), p)
				var overlap *ipam.OverlapError
				switch {
				case err == nil:
					registered.Add(1)
				case errors.As(err, &overlap):
					refused.Store(overlap.Holder, true)
				default:
					t.Errorf("%s registers %s: %v", c.cfg.Node, p, err)
				}
			})
		}
		close(start)
		wait.Wait()
		holdings, err := clients[0].Holdings(t.Context())
		g.ok(err)
		var holders []string
		for name, h := range holdings {
			for _, p := range h.Prefixes() {
				if p.Addr() == netip.MustParseAddr(fmt.Sprintf("2001:db8:%x::", round<<8)) {
					holders = append(holders, name)
				}
			}
		}
		if registered.Load() != 1 || len(holders) != 1 {
			t.Fatalf("round %d: %d were told that they have it, %v have it", round, registered.Load(), holders)
		}
		refused.Range(func(named, _ any) bool {
			if named != holders[0] {
				t.Errorf("round %d: one was told that %v has it, which is %s's", round, named, holders[0])
			}
			return true
		})
	}

	var wait sync.WaitGroup
	for i, c := range clients[:8] {
		p := netip.MustParsePrefix(fmt.Sprintf("2001:db8:f%x00::/40", i))
		wait.Go(func() {
			if err := c.hold(t.Context(), p); err != nil {
				t.Errorf("%s registers %s: %v", c.cfg.Node, p, err)
			}
		})
	}
	wait.Wait()
}

// TestRegisterWhatRests: what another node held is free once its blocks have rested,
// also when it holds nothing else.
func TestRegisterWhatRests(t *testing.T) {
	t.Parallel()
	g := single(t, 3)
	n1, n2 := g.open(1), g.open(2)
	p := netip.MustParsePrefix("2001:db8::/48")
	g.ok(n1.hold(t.Context(), p))
	_, err := n1.UpdateHolding(t.Context(), func(h ipam.Holding, _ *Others) (ipam.Holding, error) {
		h, _, err := h.Delegate("n3", 1, 0, time.Now())
		if err != nil {
			return h, err
		}
		return h.Unregister(p, true, time.Now())
	})
	g.ok(err)
	var overlap *ipam.OverlapError
	if err := n2.hold(t.Context(), p); !errors.As(err, &overlap) || !overlap.Block || overlap.Holder != "n1" || overlap.Until.Before(time.Now().Add(ipam.Rest/2)) {
		t.Errorf("n2 registers what rests: %v", err)
	}
	beside := netip.MustParsePrefix("2001:db8:0:100::/56")
	g.ok(n2.hold(t.Context(), beside))
	if err := n1.hold(t.Context(), p); !errors.As(err, &overlap) || overlap.Holder != "n2" || overlap.With != beside {
		t.Errorf("n1 registers again what n2 has a part of: %v", err)
	}
}

// TestStaleRequest: what a node gave back, and has asked not to give back since, is not
// taken from it by a holder that hears late.
func TestStaleRequest(t *testing.T) {
	t.Parallel()
	g := single(t, 2)
	n1, n2 := g.open(1), g.open(2)
	p := netip.MustParsePrefix("2001:db8::/48")
	g.ok(n1.hold(t.Context(), p))
	g.ok(n2.PutRequest(t.Context(), nil, ipam.Request{Holder: "n1", Blocks: 1}))
	asked := func(want int) func(Snapshot) bool {
		return func(s Snapshot) bool {
			return s.Nodes["n2"] != nil && s.Nodes["n2"].Request != nil && s.Nodes["n2"].Request.Blocks == want
		}
	}
	g.until(n1, "n2's request", asked(1))
	g.until(n2, "its own request", asked(1))
	g.ok(n2.PutRequest(t.Context(), nil, ipam.Request{Holder: "n1", Blocks: 7})) // computed before it heard of the first
	computed := 0
	next, err := n1.UpdateHolding(t.Context(), func(h ipam.Holding, from *Others) (ipam.Holding, error) {
		r, asks := from.Request("n2")
		if computed++; computed == 1 { // n2 is faster than the commit
			g.ok(n2.PutRequest(t.Context(), &ipam.Request{Holder: "n1", Blocks: 1}, ipam.Request{Holder: "n1", Blocks: 2}))
		}
		if _, stranger := from.Request("n9"); !asks || stranger {
			t.Errorf("n2 asks %v, n9 %v", asks, stranger)
		}
		return h.Answer(map[string]ipam.Request{"n2": r}, time.Now())
	})
	g.ok(err)
	if got := next.Of("n2"); computed < 2 || len(got) != 2 {
		t.Errorf("computed %d times, n2 has %v", computed, got)
	}
}
