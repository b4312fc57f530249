package gridstore

import (
	"errors"
	"testing"
	"time"

	"github.com/zosnet/zosnet/pkg/trust"
)

// TestRevocation: what a node signed is believed until its certificate is revoked,
// and again under a newer certificate of the same key; also after a restart without
// the registry, and whatever list the registry shows then.
func TestRevocation(t *testing.T) {
	t.Parallel()
	g := single(t, 2)
	ctx := t.Context()
	owner := must(trust.NewOwnerKey())
	n1, n2 := g.open(1), g.open(2)
	g.ok(g.apply(n1, owner, "acme", 1, "n1", "n2"))
	g.part(n2, "acme")
	hasPart := func(s Snapshot) bool { return s.Networks["acme"] != nil && s.Networks["acme"].Parts["n2"] != nil }
	isRefused := func(s Snapshot) bool {
		return s.Networks["acme"] != nil && len(s.Networks["acme"].Parts) == 0 && len(s.Problems) == 1 &&
			s.Problems[0].Key == "/zosnet/v1/nodes/n2/networks/acme" && errors.Is(s.Problems[0].Err, trust.ErrRevoked)
	}
	g.until(n1, "n2's part", hasPart)

	issued := must(n1.Issued(ctx, "n2"))
	roots, list, err := g.ca.Revoke(g.roots, time.Now(), g.roots.Each("n2", issued)...)
	g.ok(err)
	g.ok(g.root().PutRevocations(ctx, nil, list))
	g.until(n1, "n2's part is refused", isRefused)
	if s := n1.Snapshot(); string(s.Revocations) != string(list) || !errors.Is(s.Nodes["n2"].Identity.Valid(time.Now()), trust.ErrRevoked) {
		t.Errorf("n2 is %+v", s.Nodes["n2"])
	}
	if got := must(n1.Revocations(ctx)); string(got) != string(list) || string(n1.Roots().Revocations()) != string(list) {
		t.Error("another list is in the registry, or believed")
	}

	t.Run("two that revoke at once", func(t *testing.T) {
		if err := g.root().PutRevocations(ctx, nil, list); !errors.Is(err, ErrStale) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a restart without the registry", func(t *testing.T) {
		g.close(n1)
		n1 = g.open(1, func(c *Config) { c.Endpoints = []string{"https://[fd00:7a6f::9]:1"} })
		if s := n1.Snapshot(); s.Source != SourceCache || !isRefused(s) {
			t.Errorf("from the cache: %+v", s)
		}
		g.close(n1)
		n1 = g.open(1)
	})
	t.Run("an older list", func(t *testing.T) {
		_, newer, err := g.ca.Revoke(roots, time.Now())
		g.ok(err)
		g.ok(g.root().PutRevocations(ctx, list, newer))
		g.until(n1, "the newer list", func(s Snapshot) bool { return string(s.Revocations) == string(newer) })
		g.ok(g.root().PutRevocations(ctx, newer, list))
		s := g.until(n1, "the older list is refused", func(s Snapshot) bool { return len(s.Problems) == 2 })
		if s.Problems[1].Key != revocations || !errors.Is(s.Problems[1].Err, trust.ErrOlder) || string(s.Revocations) != string(newer) {
			t.Errorf("problems %v", s.Problems)
		}
		g.ok(g.root().PutRevocations(ctx, list, newer))
	})
	t.Run("a newer certificate of the same key", func(t *testing.T) {
		node := g.node(2)
		next := must(g.ca.Reissue(node.identity, false, time.Now()))
		if id := must(roots.Identity("n2", next)); !id.Expires.After(node.identity.Expires) || id.Valid(time.Now()) != nil {
			t.Errorf("it ends %v, the one before %v", id.Expires, node.identity.Expires)
		}
		g.ok(g.root().Renew(ctx, "n2", node.identity.ControlKey, must(trust.Renewed(next, node.pem))))
		g.until(n1, "n2's part again", hasPart)
		if list := must(n1.Issued(ctx, "n2")); len(trust.Certificates(list)) != 2 {
			t.Errorf("n2 was given %d certificates, want 2", len(trust.Certificates(list)))
		}
	})
}
