package gridstore

import (
	"errors"
	"testing"

	"github.com/zosnet/zosnet/pkg/trust"
)

// TestAccept: a node hears of another owner's network that it is not accepted, takes
// it once it is, and goes on with what it has when it is not any more.
func TestAccept(t *testing.T) {
	t.Parallel()
	g := single(t, 2)
	ours, theirs := must(trust.NewOwnerKey()), must(trust.NewOwnerKey())
	only := func(owners ...*trust.OwnerKey) trust.Accept {
		var list []string
		for _, o := range owners {
			list = append(list, o.Owner().String())
		}
		return must(trust.ParseAccept(list))
	}
	n1, n2 := g.open(1), g.open(2, func(c *Config) { c.Accept = only(ours) })
	g.ok(g.apply(n1, ours, "acme", 1, "n1", "n2"))
	g.ok(g.apply(n1, theirs, "globex", 1, "n1", "n2"))
	refusedAt := func(s Snapshot, network string) error {
		for _, p := range s.Problems {
			if p.Key == (Key{Kind: KindDocument, Network: network}).String() {
				return p.Err
			}
		}
		return nil
	}
	g.until(n2, "ours, not theirs", func(s Snapshot) bool {
		return s.Networks["acme"] != nil && s.Networks["globex"] == nil && errors.Is(refusedAt(s, "globex"), trust.ErrNotAccepted)
	})
	n2.SetAccept(only(ours, theirs))
	g.until(n2, "both", func(s Snapshot) bool {
		return s.Networks["acme"] != nil && s.Networks["globex"] != nil && len(s.Problems) == 0
	})
	n2.SetAccept(only(ours))
	g.ok(g.apply(n1, theirs, "globex", 2, "n1", "n2"))
	g.until(n2, "their last word that was accepted", func(s Snapshot) bool {
		return s.Networks["globex"] != nil && s.Networks["globex"].Document.Revision == 1 && errors.Is(refusedAt(s, "globex"), trust.ErrNotAccepted)
	})
	g.close(n2)
	n2 = g.open(2, func(c *Config) { c.Accept = only(ours) })
	if s := n2.Snapshot(); s.Networks["globex"] == nil || s.Networks["globex"].Document.Revision != 1 {
		t.Errorf("after a restart: networks %v, problems %v", names(s.Networks), s.Problems)
	}
	n2.SetAccept(trust.Accept{})
	g.until(n2, "anybody's", func(s Snapshot) bool {
		return s.Networks["globex"] != nil && s.Networks["globex"].Document.Revision == 2 && len(s.Problems) == 0
	})
}
