package ipam_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zosnet/zosnet/pkg/ipam"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// holding is gw1's, with registrations.
func holding(t testing.TB, registered ...string) ipam.Holding {
	t.Helper()
	h := ipam.Holding{Holder: "gw1"}
	for _, p := range registered {
		var err error
		if h, err = h.Register(ipam.Registration{Prefix: prefix(p), Source: "a LIR", Registered: start}, nil, start); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func delegate(t testing.TB, h ipam.Holding, node string, blocks, bits int, now time.Time) (ipam.Holding, []string) {
	t.Helper()
	h, got, err := h.Delegate(node, blocks, bits, now)
	if err != nil {
		t.Fatal(err)
	}
	return h, texts(got)
}

func texts(list []netip.Prefix) []string {
	out := []string{}
	for _, p := range list {
		out = append(out, p.String())
	}
	return out
}

func TestRegister(t *testing.T) {
	h := holding(t, "2001:db8:a::/48")
	other := ipam.Holding{Holder: "gw2"}
	other, err := other.Register(ipam.Registration{Prefix: prefix("2001:db8:b::/48")}, []ipam.Holding{h}, start)
	if err != nil {
		t.Fatal(err)
	}
	other, _ = delegate(t, other, "n1", 1, 0, start)
	other, err = other.Unregister(prefix("2001:db8:b::/48"), true, start)
	if err != nil {
		t.Fatal(err)
	}
	other, err = other.Register(ipam.Registration{Prefix: prefix("2001:db8:c::/48")}, []ipam.Holding{h}, start)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, prefix string
		now          time.Duration
		want         string // in the error; empty: registered
	}{
		{"a second one", "2001:db8:d::/48", 0, ""},
		{"the same again", "2001:db8:a::/48", 0, ""},
		{"unique local", "fd00:1::/48", 0, ""},
		{"inside its own", "2001:db8:a:100::/56", 0, "overlaps 2001:db8:a::/48, which node gw1 holds"},
		{"around its own", "2001:db8::/32", 0, "overlaps 2001:db8:a::/48"},
		{"another node's", "2001:db8:c::/48", 0, "overlaps 2001:db8:c::/48, which node gw2 holds"},
		{"a part of another node's", "2001:db8:c:ff00::/56", 0, "which node gw2 holds"},
		{"what another node had, while a block of it rests", "2001:db8:b::/48", ipam.Rest - 1, "its block 2001:db8:b::/56 was released by node gw2 and rests until 2026-01-02T04:04:05Z"},
		{"a part of it that does not rest", "2001:db8:b:100::/56", ipam.Rest - 1, ""},
		{"all of it when it has rested", "2001:db8:b::/48", ipam.Rest, ""},
		{"IPv4", "192.0.2.0/24", 0, "not an IPv6 prefix"},
		{"multicast", "ff0e::/48", 0, "not an IPv6 prefix of global"},
		{"link-local", "fe80::/64", 0, "not an IPv6 prefix of global"},
		{"less than a network", "2001:db8:e::/65", 0, "/16 to /64"},
		{"more than anybody gets", "2000::/12", 0, "/16 to /64"},
		{"bits after its length", "2001:db8:e::1/48", 0, "no bits set after its length"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now := start.Add(tt.now)
			next, err := h.Register(ipam.Registration{Prefix: prefix(tt.prefix), Contact: "noc@example.net", Registered: now}, []ipam.Holding{other}, now)
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("error %v, want one with %q", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			r := next.Registrations[prefix(tt.prefix)]
			if r.Holder != "gw1" || r.Contact != "noc@example.net" || tt.prefix == "2001:db8:a::/48" && !r.Registered.Equal(start) {
				t.Errorf("registered is %+v", r)
			}
		})
	}
}

// One holder's life, step by step.
func TestDelegate(t *testing.T) {
	h := holding(t, "2001:db8:1::/54", "2001:db8::/55")
	at := start.Add
	give := func(what, node string, blocks, bits int, now time.Duration, want ...string) {
		t.Helper()
		var got []string
		h, got = delegate(t, h, node, blocks, bits, at(now))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%s: %s has (-want +got):\n%s", what, node, diff)
		}
	}
	release := func(node, block string, now time.Duration) {
		t.Helper()
		var err error
		if h, err = h.Release(prefix(block), node, at(now)); err != nil {
			t.Fatal(err)
		}
	}
	give("the lowest of all", "n1", 1, 0, 0, "2001:db8::/56")
	give("the next", "n2", 1, 0, 0, "2001:db8:0:100::/56")
	give("the same again", "n1", 1, 0, 0, "2001:db8::/56")
	give("one more, from the next registration", "n1", 2, 0, 0, "2001:db8::/56", "2001:db8:1::/56")
	give("fewer takes nothing", "n1", 1, 0, 0, "2001:db8::/56", "2001:db8:1::/56")
	release("n1", "2001:db8::/56", 0)
	release("n1", "2001:db8::/56", time.Minute) // again: it rests from the first time
	give("what rests is not given", "n3", 1, 0, ipam.Rest-1, "2001:db8:1:100::/56")
	give("what has rested is lowest", "n4", 1, 0, ipam.Rest, "2001:db8::/56")
	give("smaller ones share what is left", "n5", 2, 60, ipam.Rest, "2001:db8:1:200::/60", "2001:db8:1:210::/60")
	give("a larger one goes above them", "n6", 1, 56, ipam.Rest, "2001:db8:1:300::/56")
	give("and small ones still go between", "n7", 1, 57, ipam.Rest, "2001:db8:1:280::/57")

	_, _, err := h.Delegate("n8", 1, 0, at(ipam.Rest))
	var depleted *ipam.DepletedError
	if !errors.As(err, &depleted) || depleted.Networks != 6*256 || len(depleted.Shares) != 7 {
		t.Fatalf("error %v", err)
	}
	for _, part := range []string{"/56", `"n8"`, "2001:db8::/55, 2001:db8:1::/54", "gw1", "none is free", "n1 has 1 block, 16.7 %", "n5 has 2 blocks, 2.1 %", "register another"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error lacks %q: %s", part, err)
		}
	}
	h = h.RemoveNode("n5", at(ipam.Rest))
	_, _, err = h.Delegate("n8", 1, 60, at(2*ipam.Rest-1))
	if err != nil {
		t.Errorf("a /60 is left beside those that rest: %v", err)
	}
	_, _, err = h.Delegate("n8", 1, 57, at(2*ipam.Rest-1))
	if err == nil || !strings.Contains(err.Error(), "2 blocks, 2.1 % were released but rest (the next is free at 2026-01-02T05:04:05Z)") {
		t.Errorf("error %v", err)
	}
	give("when the small ones have rested a larger one fits", "n8", 1, 57, 2*ipam.Rest, "2001:db8:1:200::/57")
}

func TestDelegateRefuses(t *testing.T) {
	h := holding(t, "2001:db8::/60")
	for name, try := range map[string]func() (ipam.Holding, error){
		"a negative number": func() (ipam.Holding, error) { next, _, err := h.Delegate("n1", -1, 0, start); return next, err },
		"a length of nothing": func() (ipam.Holding, error) {
			next, _, err := h.Delegate("n1", 1, 65, start)
			return next, err
		},
		"more than there is, by halves": func() (ipam.Holding, error) {
			next, _, err := h.Delegate("n1", 17, 64, start)
			return next, err
		},
		"a block of nobody": func() (ipam.Holding, error) { return h.Release(prefix("2001:db8::/64"), "n1", start) },
		"no registration":   func() (ipam.Holding, error) { return h.Unregister(prefix("2001:db8:1::/48"), true, start) },
	} {
		next, err := try()
		if err == nil || len(next.Blocks) != 0 || len(next.Registrations) != 1 {
			t.Errorf("%s: error %v, holding %v", name, err, next)
		}
	}
	if _, got := delegate(t, h, "n1", 1, 0, start); got[0] != "2001:db8::/60" {
		t.Errorf("a registration shorter than a block is one block, got %s", got)
	}
}

func TestReleaseOfAnothersBlock(t *testing.T) {
	h, _ := delegate(t, holding(t, "2001:db8::/48"), "n1", 1, 0, start)
	next, err := h.Release(prefix("2001:db8::/56"), "n2", start)
	if err == nil || !strings.Contains(err.Error(), "node n1's") || !next.Blocks[prefix("2001:db8::/56")].Owned() {
		t.Errorf("error %v, blocks %v", err, next.Blocks)
	}
}

func TestUnregister(t *testing.T) {
	p := prefix("2001:db8::/48")
	h, _ := delegate(t, holding(t, "2001:db8::/48"), "n1", 1, 0, start)
	h, _ = delegate(t, h, "n2", 1, 0, start)
	h, err := h.Release(prefix("2001:db8:0:100::/56"), "n2", start)
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.Unregister(p, false, start)
	if err == nil || !strings.Contains(err.Error(), "still used: 2001:db8::/56 by n1;") {
		t.Errorf("error %v", err)
	}
	forced, err := h.Unregister(p, true, start.Add(time.Minute))
	if err != nil || len(forced.Registrations) != 0 {
		t.Fatalf("forced: %v, %v", forced, err)
	}
	again, err := forced.Register(ipam.Registration{Prefix: p}, nil, start.Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if _, got := delegate(t, again, "n3", 1, 0, start.Add(ipam.Rest)); got[0] != "2001:db8:0:100::/56" {
		t.Errorf("n3 has %s, but what was taken by force rests a minute longer", got)
	}
	if gone, err := again.RemoveNode("n1", start).Unregister(p, false, start); err != nil || len(gone.Registrations) != 0 {
		t.Errorf("with nobody left: %v", err)
	}
}

func TestAdopt(t *testing.T) {
	h := holding(t, "2001:db8::/48")
	used := prefixes(t, "2001:db8:0:101::/64", "2001:db8:0:102::/64", "2001:db8:0:301::/64", "2001:db8:f::/64")
	h, err := h.Adopt(used, start)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"2001:db8:0:100::/56", "2001:db8:0:300::/56"}, texts(h.Of("gw1"))); diff != "" {
		t.Errorf("gw1 has (-want +got):\n%s", diff)
	}
	h, _ = delegate(t, h, "n1", 2, 0, start)
	if diff := cmp.Diff([]string{"2001:db8::/56", "2001:db8:0:200::/56"}, texts(h.Of("n1"))); diff != "" {
		t.Errorf("n1 has (-want +got):\n%s", diff)
	}
	if _, err := h.Adopt(prefixes(t, "2001:db8:0:2ff::/64"), start); err == nil || !strings.Contains(err.Error(), "node n1 has or had") {
		t.Errorf("n1's block is adopted: %v", err)
	}
	if again, err := h.Adopt(used, start); err != nil || len(again.Blocks) != 4 {
		t.Errorf("adopting again: %v, %v", again.Blocks, err)
	}
	// What it gave up and nobody else had since it has again at once; what another gave
	// up, once that has rested.
	given := h.RemoveNode("gw1", start).RemoveNode("n1", start)
	if again, err := given.Adopt(used, start); err != nil || len(again.Of("gw1")) != 2 {
		t.Errorf("adopting what it gave up: %v, %v", again.Blocks, err)
	}
	another := prefixes(t, "2001:db8:0:2ff::/64")
	if _, err := given.Adopt(another, start.Add(ipam.Rest-1)); err == nil {
		t.Error("what n1 gave up is adopted while it rests")
	}
	if again, err := given.Adopt(another, start.Add(ipam.Rest)); err != nil || !slices.Equal(again.Of("gw1"), prefixes(t, "2001:db8:0:200::/56")) {
		t.Errorf("adopting what has rested: %v, %v", again.Blocks, err)
	}
}

func TestAnswer(t *testing.T) {
	h := holding(t, "2001:db8::/54")
	requests := map[string]ipam.Request{
		"n2": {Holder: "gw1", Blocks: 1},
		"n1": {Holder: "gw1", Blocks: 2},
		"n3": {Holder: "gw2", Blocks: 1},
		"n4": {Holder: "gw1", Blocks: 2},
	}
	h, err := h.Answer(requests, start)
	if err == nil || !strings.Contains(err.Error(), `"n4"`) {
		t.Errorf("error %v", err)
	}
	want := map[string][]string{
		"n1": {"2001:db8::/56", "2001:db8:0:100::/56"}, "n2": {"2001:db8:0:200::/56"}, "n3": {}, "n4": {},
	}
	for node, blocks := range want {
		if diff := cmp.Diff(blocks, texts(h.Of(node))); diff != "" {
			t.Errorf("%s has (-want +got):\n%s", node, diff)
		}
	}
	requests["n4"] = ipam.Request{Holder: "gw1", Blocks: 1}
	requests["n1"] = ipam.Request{Holder: "gw1", Blocks: 2, Release: prefixes(t, "2001:db8::/56", "2001:db8:0:200::/56")}
	for _, now := range []time.Time{start, start, start.Add(ipam.Rest), start.Add(2 * ipam.Rest)} {
		var err error
		if h, err = h.Answer(requests, now); (err != nil) != now.Before(start.Add(ipam.Rest)) {
			t.Errorf("at %s: %v", now, err)
		}
	}
	// n1 gave one back and has another for it, not the one that it says it releases;
	// n2's stays n2's, whatever n1 says; n4 has what n1 gave back once that has rested.
	want = map[string][]string{
		"n1": {"2001:db8:0:100::/56", "2001:db8:0:300::/56"}, "n2": {"2001:db8:0:200::/56"}, "n4": {"2001:db8::/56"},
	}
	for node, blocks := range want {
		if diff := cmp.Diff(blocks, texts(h.Of(node))); diff != "" {
			t.Errorf("%s has (-want +got):\n%s", node, diff)
		}
	}
	if open := h.Open(requests); len(open) != 0 {
		t.Errorf("when all is answered %v are not", open)
	}
	elsewhere := map[string]ipam.Request{"n1": {Holder: "gw2", Blocks: 9, Release: prefixes(t, "2001:db8:0:300::/56")}}
	if after, err := h.Answer(elsewhere, start.Add(2*ipam.Rest)); err != nil || len(after.Of("n1")) != 1 || !slices.Equal(h.Open(elsewhere), []string{"n1"}) {
		t.Errorf("who asks another holder for more and gives one back has %v, %v", after.Of("n1"), err)
	}
	h, err = h.Release(prefix("2001:db8::/56"), "n4", start.Add(2*ipam.Rest))
	if err != nil {
		t.Fatal(err)
	}
	delete(requests, "n4")
	requests["n1"] = ipam.Request{Holder: "gw1", Blocks: 3, Release: prefixes(t, "2001:db8::/56")}
	if h, err = h.Answer(requests, start.Add(3*ipam.Rest)); err == nil || len(h.Of("n1")) != 2 {
		t.Errorf("n1 has what it still says it releases: %s, %v", h.Of("n1"), err)
	}
	requests["n1"] = ipam.Request{Holder: "gw1", Blocks: 3}
	if h, err = h.Answer(requests, start.Add(3*ipam.Rest)); err != nil || len(h.Of("n1")) != 3 {
		t.Errorf("n1 has %s, %v", h.Of("n1"), err)
	}
}

func TestWanted(t *testing.T) {
	b := blocks(t, "2001:db8::/56", "2001:db8:0:200::/56")
	var s ipam.State
	if got := s.Wanted(blocks(t), start); got != 1 {
		t.Errorf("a node without a block wants %d", got)
	}
	for i := range 510 {
		if got, want := s.Wanted(b, start), 2; i <= 510-32 && got != want || i > 510-32 && got != want+1 {
			t.Fatalf("with %d of 510 given it wants %d", i, got)
		}
		s, _ = allocate(t, s, b, "net"+string(rune('a'+i/26))+string(rune('a'+i%26)), start)
	}
	for p, l := range s.Prefixes {
		if prefix("2001:db8:0:200::/56").Contains(p.Addr()) {
			s = s.Release(l.Network, start)
		}
	}
	if got := s.Wanted(b, start); got != 3 {
		t.Errorf("while half of them rests it wants %d", got)
	}
	if got := s.Wanted(b, start.Add(ipam.Rest)); got != 2 {
		t.Errorf("once they have rested it wants %d", got)
	}
}

// TestSurplus: a node gives back what no network needs, and keeps enough at hand.
func TestSurplus(t *testing.T) {
	small := blocks(t, "2001:db8::/60", "2001:db8:0:10::/60", "2001:db8:0:20::/60", "2001:db8:0:30::/60", "2001:db8:0:40::/60")
	for _, row := range []struct {
		name     string
		blocks   ipam.Blocks
		networks int // that are made
		released int // of them, the first
		after    time.Duration
		idle     int
		want     string
	}{
		{"its only block stays", blocks(t, "2001:db8::/56"), 0, 0, 0, 1, ""},
		{"of two that nobody uses the higher goes", blocks(t, "2001:db8::/56", "2001:db8:0:100::/56"), 0, 0, 0, 2, "2001:db8:0:100::/56"},
		{"the lower is used", blocks(t, "2001:db8::/56", "2001:db8:0:100::/56"), 191, 0, 0, 1, "2001:db8:0:100::/56"},
		{"in the lower too few are left", blocks(t, "2001:db8::/56", "2001:db8:0:100::/56"), 192, 0, 0, 1, ""},
		{"both are used", blocks(t, "2001:db8::/56", "2001:db8:0:100::/56"), 256, 0, 0, 0, ""},
		{"what rests is used", blocks(t, "2001:db8::/56", "2001:db8:0:100::/56"), 256, 255, ipam.Rest - 1, 0, ""},
		{"it has rested", blocks(t, "2001:db8::/56", "2001:db8:0:100::/56"), 256, 255, ipam.Rest, 1, "2001:db8::/56"},
		{"small ones", small, 0, 0, 0, 5, ""},
		{"none", blocks(t), 0, 0, 0, 0, ""},
	} {
		var s ipam.State
		for i := range row.networks {
			s, _ = allocate(t, s, row.blocks, fmt.Sprintf("net%d", i), start)
		}
		for i := range row.released {
			s = s.Release(fmt.Sprintf("net%d", i), start)
		}
		now := start.Add(row.after)
		if idle := s.Idle(row.blocks, now); len(idle) != row.idle {
			t.Errorf("%s: idle are %s, want %d", row.name, idle, row.idle)
		}
		p, ok := s.Surplus(row.blocks, now)
		if ok != (row.want != "") || ok && p.String() != row.want {
			t.Errorf("%s: %s %t goes back, want %q", row.name, p, ok, row.want)
		}
	}
}
