package ipam_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zosnet/zosnet/pkg/ipam"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func allocate(t testing.TB, s ipam.State, b ipam.Blocks, network string, now time.Time) (ipam.State, string) {
	t.Helper()
	s, p, err := s.Allocate(b, network, "n1", now)
	if err != nil {
		t.Fatalf("allocate for %s: %v", network, err)
	}
	return s, p.String()
}

func TestAllocate(t *testing.T) {
	b := blocks(t, "2001:db8::/62", "2001:db8:0:100::/63")
	var s ipam.State
	steps := []struct {
		what    string
		network string
		now     time.Duration
		release bool
		want    string // /64, empty for a release
	}{
		{"the first /64 is the node's", "a", 0, false, "2001:db8:0:1::/64"},
		{"the next", "b", 0, false, "2001:db8:0:2::/64"},
		{"the same again", "a", 0, false, "2001:db8:0:1::/64"},
		{"gone", "a", 0, true, ""},
		{"what rests is not given", "c", ipam.Rest - 1, false, "2001:db8:0:3::/64"},
		{"what has rested is lowest", "d", ipam.Rest, false, "2001:db8:0:1::/64"},
		{"in the next block the first is kept too", "e", ipam.Rest, false, "2001:db8:0:101::/64"},
	}
	for _, step := range steps {
		now := start.Add(step.now)
		if step.release {
			s = s.Release(step.network, now)
			continue
		}
		var got string
		s, got = allocate(t, s, b, step.network, now)
		if got != step.want {
			t.Errorf("%s: %s, want %s", step.what, got, step.want)
		}
	}
}

func TestAllocateChangesNothingItWasGiven(t *testing.T) {
	b := blocks(t, "2001:db8::/56")
	one, _ := allocate(t, ipam.State{}, b, "a", start)
	two, _ := allocate(t, one, b, "b", start)
	two.Release("a", start)
	if len(one.Prefixes) != 1 || !two.Prefixes[netip.MustParsePrefix("2001:db8:0:1::/64")].Owned() {
		t.Errorf("an earlier state was changed: %v, %v", one, two)
	}
}

func TestExhausted(t *testing.T) {
	b := blocks(t, "2001:db8::/60")
	var s ipam.State
	for i := range 15 {
		s, _ = allocate(t, s, b, fmt.Sprintf("n%02d", i), start)
	}
	s = s.Release("n03", start)
	s = s.Release("n04", start.Add(time.Minute))
	_, _, err := s.Allocate(b, "late", "n1", start.Add(2*time.Minute))
	var exhausted *ipam.ExhaustedError
	if !errors.As(err, &exhausted) {
		t.Fatalf("error %v, want an ExhaustedError", err)
	}
	if exhausted.Capacity != 15 || len(exhausted.Owners) != 13 || exhausted.Resting != 2 ||
		!exhausted.NextFree.Equal(start.Add(ipam.Rest)) {
		t.Errorf("got %+v", exhausted)
	}
	for _, part := range []string{
		`"late"`, "2001:db8::/60", "all 15 are used", "13 by networks (n00, n01, n02, n05,", "and 3 more",
		"2 released but resting", "2026-01-02T04:04:05Z", "node.yaml",
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error lacks %q: %s", part, err)
		}
	}
	if _, got := allocate(t, s, b, "late", start.Add(ipam.Rest)); got != "2001:db8:0:4::/64" {
		t.Errorf("after the rest %s is given", got)
	}
}

func TestNoPrefix(t *testing.T) {
	_, _, err := ipam.State{}.Allocate(blocks(t), "a", "n1", start)
	if err == nil || !strings.Contains(err.Error(), "no prefix at all") {
		t.Errorf("error %v", err)
	}
}

func TestNodePrefixesChanged(t *testing.T) {
	var s ipam.State
	for _, before := range []struct{ network, prefix, want string }{
		{"kept", "2001:db8::/60", "2001:db8:0:1::/64"},
		{"outside", "2001:db8:1::/56", "2001:db8:1:1::/64"},
		{"edge", "2001:db8:0:fc::/62", "2001:db8:0:fd::/64"},
	} {
		var got string
		if s, got = allocate(t, s, blocks(t, before.prefix), before.network, start); got != before.want {
			t.Fatalf("%s has %s", before.network, got)
		}
	}
	now := blocks(t, "2001:db8::/60", "2001:db8:0:fd::/64")
	want := []ipam.Stranded{
		{Network: "edge", Node: "n1", Prefix: netip.MustParsePrefix("2001:db8:0:fd::/64")}, // now the first of a block
		{Network: "outside", Node: "n1", Prefix: netip.MustParsePrefix("2001:db8:1:1::/64")},
	}
	if diff := cmp.Diff(want, s.Stranded(now), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("stranded (-want +got):\n%s", diff)
	}
	after, got := allocate(t, s, now, "outside", start)
	if got != "2001:db8:1:1::/64" || len(after.Prefixes) != 3 {
		t.Errorf("a stranded network was moved to %s", got)
	}
}

func TestNetworkIDs(t *testing.T) {
	var s ipam.State
	take := func(network string, now time.Time) uint32 {
		t.Helper()
		var id uint32
		var err error
		if s, id, err = s.AllocateID(network, now); err != nil {
			t.Fatal(err)
		}
		return id
	}
	for want := ipam.FirstNetworkID; want <= ipam.LastNetworkID; want++ {
		if id := take(fmt.Sprintf("n%04d", want), start); id != want {
			t.Fatalf("id %d, want the lowest free one, %d", id, want)
		}
	}
	if id := take("n0007", start); id != 7 {
		t.Errorf("a network that has id 7 got %d", id)
	}
	s = s.Release("n0009", start)
	_, _, err := s.AllocateID("late", start.Add(ipam.Rest-1))
	var exhausted *ipam.ExhaustedError
	if !errors.As(err, &exhausted) || exhausted.Resting != 1 || len(exhausted.Owners) != 4094 {
		t.Errorf("error %v", err)
	}
	if id := take("late", start.Add(ipam.Rest)); id != 9 {
		t.Errorf("id %d after the rest, want 9", id)
	}
}

func TestServiceIDsAreNeverReused(t *testing.T) {
	var s ipam.State
	for want := uint32(1); want < 100; want++ {
		var id uint32
		if s, id = s.AllocateService(); id != want {
			t.Fatalf("id %d, want %d", id, want)
		}
	}
}

func TestOneNetworkOnSeveralNodes(t *testing.T) {
	first, second := blocks(t, "2001:db8::/56"), blocks(t, "2001:db8:0:100::/56")
	var s ipam.State
	take := func(b ipam.Blocks, node, want string) {
		t.Helper()
		next, p, err := s.Allocate(b, "acme", node, start)
		if err != nil || p.String() != want {
			t.Fatalf("on %s: %s, %v; want %s", node, p, err, want)
		}
		s = next
	}
	take(first, "n1", "2001:db8:0:1::/64")
	take(second, "n2", "2001:db8:0:101::/64")
	take(first, "n1", "2001:db8:0:1::/64")
	if p, ok := s.Prefix("acme", "n2"); !ok || p.String() != "2001:db8:0:101::/64" {
		t.Errorf("on n2 it has %s, %t", p, ok)
	}
	if p, ok := s.Prefix("acme", "n3"); ok {
		t.Errorf("on n3 it has %s", p)
	}
	s = s.Release("acme", start)
	for _, l := range s.Prefixes {
		if l.Owned() || l.Node == "" {
			t.Errorf("after its release there is %+v", l)
		}
	}
}

func TestRestAsConfigured(t *testing.T) {
	b := blocks(t, "2001:db8::/56")
	s, first := allocate(t, ipam.State{Rest: time.Minute}, b, "a", start)
	s = s.Release("a", start)
	if _, got := allocate(t, s, b, "b", start.Add(time.Minute-1)); got == first {
		t.Errorf("%s is given while it rests", got)
	}
	if _, got := allocate(t, s, b, "b", start.Add(time.Minute)); got != first {
		t.Errorf("%s is given after a minute, want %s", got, first)
	}
}
