package gridstore

import (
	"testing"

	"github.com/zosnet/zosnet/pkg/trust"
)

// TestSpans: a node is told once that a network names it, again if that was lost, and
// that it does not any more.
func TestSpans(t *testing.T) {
	t.Parallel()
	g := single(t, 3)
	n1, etcd := g.open(1), g.etcd(1)
	owner := must(trust.NewOwnerKey())
	told := func(node int) (revision int64) {
		resp := must(etcd.Get(t.Context(), Key{Kind: KindSpan, Node: nodeName(node), Network: "acme"}.String()))
		if len(resp.Kvs) == 1 {
			revision = resp.Kvs[0].ModRevision
		}
		return revision
	}
	g.ok(g.apply(n1, owner, "acme", 1, "n1", "n2"))
	first := told(2)
	if first == 0 || told(1) != first {
		t.Fatalf("n1 was told at %d, n2 at %d", told(1), first)
	}
	g.ok(g.apply(n1, owner, "acme", 2, "n1", "n2", "n3"))
	if told(2) != first || told(3) <= first {
		t.Errorf("with n3, n2 was told at %d and %d, n3 at %d", first, told(2), told(3))
	}
	must(etcd.Delete(t.Context(), Key{Kind: KindSpan, Node: "n2", Network: "acme"}.String()))
	g.ok(g.apply(n1, owner, "acme", 3, "n1", "n2"))
	if told(2) <= first || told(3) != 0 || told(1) != first {
		t.Errorf("n1 was told at %d, n2 at %d, n3 at %d; want %d, later, never", told(1), told(2), told(3), first)
	}
}
