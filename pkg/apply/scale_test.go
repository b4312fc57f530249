package apply

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/zosnet/zosnet/pkg/plan"
)

// TestScale: 200 workloads beside 2,000 routes of somebody else. What is asked is
// generous, for CI machines; what it takes is logged.
func TestScale(t *testing.T) {
	if alone(t) {
		return
	}
	n := startNode(t)
	index := link(t, "up0").Attrs().Index
	for i := range 2000 {
		prefix := netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0xff, 0, byte(i >> 8), byte(i)}), 64)
		check(t, netlink.RouteAdd(&netlink.Route{Dst: ipNet(prefix), LinkIndex: index}))
	}
	var g grid
	for i := range 10 {
		name := fmt.Sprintf("net%d", i)
		g.networks = append(g.networks, name)
		for j := range 20 {
			g.attachments = append(g.attachments, netns(name, fmt.Sprintf("web-%d", j), uint32(256+j)))
		}
	}
	timed := func(what string, within time.Duration, s plan.State, changes bool) {
		t.Helper()
		result, err := n.Apply(t.Context(), s)
		check(t, err)
		if changes != (len(result.Changes) > 0) {
			t.Errorf("%s: %d changes", what, len(result.Changes))
		}
		t.Logf("%s: %v", what, result.Took.Round(time.Millisecond))
		if result.Took > within {
			t.Errorf("%s took %v, want at most %v", what, result.Took, within)
		}
	}
	s := g.state(t)
	timed("200 workloads attached", 2*time.Minute, s, true)
	timed("nothing changed", 15*time.Second, s, false)
	more := g
	more.attachments = slices.Concat(g.attachments, []plan.Attachment{netns("net0", "late", 1000)})
	timed("one more attached", 15*time.Second, more.state(t), true)
	timed("one detached", 15*time.Second, s, true)
	timed("all detached", 2*time.Minute, grid{}.state(t), true)
}
