package delegation

import (
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
	"github.com/zosnet/zosnet/pkg/spec"
)

// TestRegisterAndRelease: a node alone registers prefixes, its networks get /64s of
// them, and what is used is not released for nothing.
func TestRegisterAndRelease(t *testing.T) {
	ctx := t.Context()
	store, err := registry.Open(ctx, t.TempDir(), slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	node := &spec.Node{Name: "n1", Prefixes: pfxs("2001:db8:1::/48"), Where: spec.Where{"prefixes": {File: "node.yaml", Line: 3, Column: 1}}}
	s := New(Config{
		Node: func() *spec.Node { return node }, Store: store, Change: &sync.Mutex{}, Log: slog.New(slog.DiscardHandler),
		InGrid: func() bool { return false }, Grid: func() *gridstore.Client { return nil },
	})
	register := func(prefix, wrong string) {
		t.Helper()
		err := s.Register(ctx, nil, ipam.Registration{Prefix: pfx(prefix), Source: "LIR", Registered: time.Now()})
		if (err == nil) != (wrong == "") || err != nil && !strings.Contains(err.Error(), wrong) {
			t.Errorf("register %s: %v, want %q", prefix, err, wrong)
		}
	}
	release := func(prefix string, force bool, wrong string) {
		t.Helper()
		_, err := s.Release(ctx, nil, pfx(prefix), force)
		if (err == nil) != (wrong == "") || err != nil && !strings.Contains(err.Error(), wrong) {
			t.Errorf("release %s: %v, want %q", prefix, err, wrong)
		}
	}
	register("2001:db8:1::/48", "node.yaml:3:1 names it already")
	register("2001:db8:1:100::/56", "overlaps 2001:db8:1::/48, which node n1 holds")
	register("192.0.2.0/24", "not an IPv6 prefix")
	register("2001:db8::/56", "")
	register("2001:db8::/56", "") // again

	local, err := store.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	r, err := store.PutNetwork(ctx, "n1", s.Giving(local).Prefixes, "acme", "acme.yaml", []byte("network: acme\n"), nil)
	if err != nil || r.Prefix != pfx("2001:db8:0:1::/64") {
		t.Fatalf("the network has %v: %v", r.Prefix, err)
	}
	release("2001:db8:1::/48", false, "node.yaml:3:1 names it; take it out there and reload")
	release("2001:db8:5::/48", false, "this node holds no such prefix")
	release("2001:db8::/56", false, "still used by network acme; delete them first, or take it from them: --force")
	if err := store.DeleteNetwork(ctx, "acme", false); err != nil {
		t.Fatal(err)
	}
	release("2001:db8::/56", false, "")
	release("2001:db8::/56", false, "this node holds no such prefix")
	register("2001:db8::/56", "")
	if _, err := store.PutNetwork(ctx, "n1", s.Giving(local).Prefixes, "beta", "beta.yaml", []byte("network: beta\n"), nil); err != nil {
		t.Fatal(err)
	}
	release("2001:db8::/56", true, "")
}
