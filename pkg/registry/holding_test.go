package registry

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zosnet/zosnet/pkg/ipam"
)

// What a node holds and what was delegated to it is there again after a restart.
func TestHolding(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	registered := ipam.Registration{
		Prefix: netip.MustParsePrefix("2001:db8:aaaa::/48"), Source: "LIR example", Contact: "noc@example.net",
		Registered: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
	blocks := func(list ...string) (out []Block) {
		for _, text := range list {
			out = append(out, Block{Block: netip.MustParsePrefix(text), Holder: "gw1"})
		}
		return out
	}
	check := func(registrations []ipam.Registration, blocks []Block) {
		t.Helper()
		snap := snapshot(t, s)
		if d := cmp.Diff(registrations, snap.Registrations, comparable); d != "" {
			t.Errorf("registrations: %s", d)
		}
		if d := cmp.Diff(blocks, snap.Blocks, comparable); d != "" {
			t.Errorf("blocks: %s", d)
		}
	}
	check(nil, nil)
	for range 2 {
		if err := s.PutRegistration(t.Context(), registered); err != nil {
			t.Fatal(err)
		}
		if err := s.PutBlocks(t.Context(), blocks("2001:db8:bbbb:100::/56", "2001:db8:bbbb::/56")); err != nil {
			t.Fatal(err)
		}
	}
	closeStore(t, s)
	s = openStore(t, dir)
	check([]ipam.Registration{registered}, blocks("2001:db8:bbbb::/56", "2001:db8:bbbb:100::/56"))

	before := snapshot(t, s).Revision
	if err := s.PutBlocks(t.Context(), blocks("2001:db8:bbbb::/56", "2001:db8:bbbb:100::/56")); err != nil {
		t.Fatal(err)
	}
	if after := snapshot(t, s).Revision; after != before {
		t.Errorf("the same blocks again changed the registry: %d, was %d", after, before)
	}
	if err := s.PutBlocks(t.Context(), blocks("2001:db8:bbbb:100::/56", "2001:db8:bbbb:200::/56")); err != nil {
		t.Fatal(err)
	}
	back := blocks("2001:db8:bbbb:100::/56", "2001:db8:bbbb:200::/56")
	back[0].GivenBack = true
	if err := s.PutBlocks(t.Context(), back); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	s = openStore(t, dir)
	check([]ipam.Registration{registered}, back)
	if err := s.PutBlocks(t.Context(), blocks("2001:db8:bbbb:100::/56", "2001:db8:bbbb:200::/56")); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteRegistration(t.Context(), registered.Prefix); err != nil {
		t.Fatal(err)
	}
	var missing *NotFoundError
	if err := s.DeleteRegistration(t.Context(), registered.Prefix); !errors.As(err, &missing) {
		t.Errorf("released twice: %v", err)
	}
	check(nil, blocks("2001:db8:bbbb:100::/56", "2001:db8:bbbb:200::/56"))
}
