package apply

import (
	"fmt"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/test/testenv"
)

// TestCheckCost measures what the slow check costs a processor while nothing
// changes, and that it still finds what it does not look at every time. What is
// asked is generous, for CI machines; docs/operations.md has the figures.
func TestCheckCost(t *testing.T) {
	testenv.Short(t, "a minute")
	if alone(t) {
		return
	}
	n := startNode(t)
	for _, row := range []struct {
		workloads int
		most      time.Duration // of a processor a check
	}{{60, 100 * time.Millisecond}, {500, 300 * time.Millisecond}} {
		s := crowd(row.workloads).state(t)
		n.apply(s)
		const checks = 20
		before := processorTime(t)
		for range checks {
			n.mu.Lock()
			result, err := n.pass(t.Context(), s, true)
			n.mu.Unlock()
			check(t, err)
			if len(result.Changes) > 0 {
				t.Fatalf("nothing had drifted: %v", result.Changes)
			}
		}
		cost := (processorTime(t) - before) / checks
		t.Logf("%d workloads: %v a check, %.1f %% of a processor every %v", row.workloads,
			cost.Round(100*time.Microsecond), 100*float64(cost)/float64(checkInterval), checkInterval)
		if cost > row.most {
			t.Errorf("%d workloads: a check takes %v of a processor, want at most %v", row.workloads, cost, row.most)
		}
	}

	s := crowd(500).state(t)
	repairs := n.guard(t)
	last := ofTenants(s)[len(ofTenants(s))-1]
	object := workloadObject(last.Network, last.Name)
	in(t, last.NetnsPath, func(h *netlink.Handle) error {
		return h.LinkSetDown(mustLink(t, h, endpointName))
	})
	eventually(t, 30*time.Second, "an eth0 that is down is up again", func() bool { return repairs.have(object) })
	repairs.take()
	in(t, last.NetnsPath, func(h *netlink.Handle) error {
		return h.LinkSetDown(mustLink(t, h, loopbackName))
	})
	begin := time.Now()
	eventually(t, 2*time.Minute, "a lo that is down is up again", func() bool { return repairs.have(object) })
	t.Logf("what nothing tells of was found after %v", time.Since(begin).Round(100*time.Millisecond))
}

// crowd is that many workloads in ten networks.
func crowd(workloads int) (g grid) {
	for i := range 10 {
		name := fmt.Sprintf("net%d", i)
		g.networks = append(g.networks, name)
		for j := range workloads / 10 {
			g.attachments = append(g.attachments, netns(name, fmt.Sprintf("web-%d", j), uint32(256+j)))
		}
	}
	return g
}

func mustLink(t *testing.T, h *netlink.Handle, name string) netlink.Link {
	t.Helper()
	l, err := h.LinkByName(name)
	check(t, err)
	return l
}

// processorTime is what this process has used of processors so far.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var used unix.Rusage
	check(t, unix.Getrusage(unix.RUSAGE_SELF, &used))
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
