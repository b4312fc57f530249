package gridstore

import (
	"context"
	"errors"
	"testing"

	"github.com/zosnet/zosnet/pkg/trust"
)

// TestForgetOwner: where whoever runs a node has it forget a network's owner, and there
// only, somebody else's document can take the name. Nothing that a registry shows makes a
// node forget, or take back what it has forgotten.
func TestForgetOwner(t *testing.T) {
	t.Parallel()
	g := single(t, 3)
	n1, n2 := g.open(1), g.open(2)
	lost, next := must(trust.NewOwnerKey()), must(trust.NewOwnerKey())
	first := must(lost.Sign("acme", 1, "network: acme\nnodes: [n1, n2]\n"))
	g.ok(n1.PutDocument(t.Context(), Document{Document: first, Nodes: []string{"n1", "n2"}}))
	g.ok(g.apply(n1, lost, "acme", 2, "n1", "n2"))
	n1.Carry([]string{"acme"})
	n2.Carry([]string{"acme"})

	type verdict struct {
		owner    trust.Owner // of what the node carries
		revision uint64
		problem  error // what it says of what the registry has
		free     bool
	}
	expect := func(what string, c *Client, want verdict) {
		t.Helper()
		g.until(c, what, func(s Snapshot) bool {
			var problem error
			for _, p := range s.Problems {
				problem = p.Err
			}
			n := s.Networks["acme"]
			return n != nil && n.Document != nil && n.Document.Owner == want.owner && n.Document.Revision == want.revision &&
				errors.Is(problem, want.problem) && (problem == nil) == (want.problem == nil)
		})
		if pin := c.Pins()["acme"]; pin.Owner != want.owner || pin.Revision != want.revision || pin.Released != want.free {
			t.Fatalf("%s: pinned is %+v, want %+v", what, pin, want)
		}
	}
	was := verdict{owner: lost.Owner(), revision: 2}
	expect("the first owner's", n1, was)
	expect("the first owner's", n2, was)

	const document = root + "networks/acme"
	second := g.rawGet(document)
	raw := func(d trust.Document) string {
		return string(must(encode(&Document{Document: d, Nodes: []string{"n1", "n2"}}, nil)))
	}
	forged := must(next.Sign("acme", 3, "network: acme\nnodes: [n1, n2]\n"))
	forged.Owner = lost.Owner()
	shown := []struct {
		what         string
		value        string
		before, free error // said of it while the owner is pinned, and once that is forgotten
	}{
		{"an old document", raw(first), trust.ErrOlder, trust.ErrOlder},
		{"another text of the last revision", raw(must(lost.Sign("acme", 2, "network: acme\nnodes: [n2]\n"))), trust.ErrConflict, trust.ErrConflict},
		{"another owner's under an old revision", raw(must(next.Sign("acme", 2, "network: acme\nnodes: [n1, n2]\n"))), trust.ErrOtherOwner, trust.ErrOlder},
		{"a new one that its owner did not sign", raw(forged), trust.ErrSignature, trust.ErrSignature},
		{"nothing", "", ErrMissing, ErrMissing},
		{"the last document", second, nil, nil},
	}
	show := func(value string) {
		if value == "" {
			must(g.etcd(3).Delete(t.Context(), document))
			return
		}
		g.rawPut(document, value)
	}
	for _, tt := range shown {
		show(tt.value)
		expect(tt.what, n1, verdict{lost.Owner(), 2, tt.before, false})
	}
	show(raw(must(next.Sign("acme", 3, "network: acme\nnodes: [n1, n2]\n"))))
	expect("another owner's next one", n1, verdict{lost.Owner(), 2, trust.ErrOtherOwner, false})
	show(second)
	expect("the last one again", n1, was)
	var conflict *ConflictError
	if err := g.apply(n1, next, "acme", 3, "n1", "n2"); !errors.As(err, &conflict) {
		t.Fatalf("another owner takes the name: %v", err)
	}

	if err := n1.ForgetOwner(t.Context(), "globex"); !errors.Is(err, ErrNotPinned) {
		t.Errorf("the owner of a name that was never heard of is forgotten: %v", err)
	}
	g.ok(n1.ForgetOwner(t.Context(), "acme"))
	for _, tt := range shown {
		show(tt.value)
		expect("forgotten, and "+tt.what, n1, verdict{lost.Owner(), 2, tt.free, true})
	}
	g.close(n1)
	n1 = g.open(1)
	n1.Carry([]string{"acme"})
	expect("forgotten, after a restart", n1, verdict{lost.Owner(), 2, nil, true})

	if err := g.apply(n2, next, "acme", 3, "n1", "n2"); !errors.As(err, &conflict) {
		t.Fatalf("another owner takes the name where the first one is pinned: %v", err)
	}
	g.ok(g.apply(n1, next, "acme", 3, "n1", "n2"))
	expect("forgotten, and another owner's next one", n1, verdict{owner: next.Owner(), revision: 3})
	expect("the same, where nobody has forgotten", n2, verdict{lost.Owner(), 2, trust.ErrOtherOwner, false})
	if err := g.apply(n1, lost, "acme", 4, "n1", "n2"); !errors.As(err, &conflict) {
		t.Errorf("the first owner takes the name back: %v", err)
	}

	g.close(n2)
	n2 = g.open(2, func(c *Config) { c.Endpoints = []string{"https://[fd00:7a6f::9]:1"} })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	g.ok(n2.ForgetOwner(ctx, "acme"))
	g.close(n2)
	n2 = g.open(2)
	n2.Carry([]string{"acme"})
	expect("forgotten while the registry was away", n2, verdict{owner: next.Owner(), revision: 3})
}
