package gridstore

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zosnet/zosnet/pkg/trust"
)

// TestNodes: any node lists all that are in the grid, with what they prove of
// themselves, and remembers since when one is not live, also over its own restart.
func TestNodes(t *testing.T) {
	t.Parallel()
	g := single(t, 3)
	n1, n2, n3 := g.open(1), g.open(2), g.open(3)
	g.ok(n2.PutRecord(t.Context(), Record{Class: "dc-dual", Program: "1.2.3"}))
	g.ok(g.apply(n1, must(trust.NewOwnerKey()), "acme", 1, "n1", "n2"))
	g.part(n2, "acme")
	g.rawPut(root+"nodes/n1/record", g.rawGet(root+"nodes/n2/record")) // nobody's
	ctx, leave := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); n2.KeepLive(ctx, LiveTTL) }()
	g.until(n1, "n2 is live", func(s Snapshot) bool { return s.Nodes["n2"] != nil && s.Nodes["n2"].Live })
	shown := func(c *Client) (list []string) {
		t.Helper()
		all, err := c.Nodes(t.Context())
		g.ok(err)
		for _, n := range all {
			text := fmt.Sprintf("%s %s live %t networks %v", n.Name, n.Admitted.Address, n.Live, n.Networks)
			if n.Record != nil {
				text += " " + n.Record.Class + " " + n.Record.Program
			}
			list = append(list, text)
		}
		return list
	}
	want := []string{
		"n1 fd00:7a6f::1 live false networks []",
		"n2 fd00:7a6f::2 live true networks [acme] dc-dual 1.2.3",
		"n3 fd00:7a6f::3 live false networks []",
	}
	if d := cmp.Diff(want, shown(n3)); d != "" {
		t.Error(d)
	}
	before := time.Now()
	leave()
	<-done
	left := g.until(n1, "n2 has left", func(s Snapshot) bool { return !s.Nodes["n2"].Live && !s.Nodes["n2"].Left.IsZero() }).Nodes["n2"].Left
	if left.Before(before) || left.After(time.Now()) {
		t.Errorf("n2 left at %s, n1 says at %s", before, left)
	}
	g.ok(n2.PutRecord(t.Context(), Record{Class: "dc-ipv4"}))
	g.until(n1, "n2's record", func(s Snapshot) bool { return s.Nodes["n2"].Record.Class == "dc-ipv4" })
	g.close(n1)
	n1 = g.open(1)
	if s := n1.Snapshot(); s.Nodes["n2"] == nil || !s.Nodes["n2"].Left.Equal(left) {
		t.Errorf("after a restart n1 says of n2: %+v", s.Nodes["n2"])
	}
	g.ok(g.root().Expel(t.Context(), "n2"))
	if list := shown(n3); len(list) != 2 || strings.HasPrefix(list[1], "n2") {
		t.Errorf("without n2 there are %v", list)
	}
}

// TestLook: who asks is told of a network that does not concern it, proven.
func TestLook(t *testing.T) {
	t.Parallel()
	g := single(t, 4)
	n1, n2, n4 := g.open(1), g.open(2), g.open(4)
	for _, c := range []*Client{n1, n2} {
		g.publish(c)
	}
	if s, err := n4.Look(t.Context(), "acme", []string{"n2"}); err != nil || s.Networks["acme"] != nil || s.Nodes["n2"].Record == nil {
		t.Errorf("of what is not there: %v, %v", s.Networks, err)
	}
	g.ok(g.apply(n1, must(trust.NewOwnerKey()), "acme", 1, "n1", "n2"))
	g.part(n1, "acme")
	g.ok(n1.PutAttachment(t.Context(), "acme", Attachment{Workload: "web-1", Service: "web", Kind: "netns", Host: 5}))
	g.rawPut(root+"nodes/n2/networks/acme", g.rawGet(root+"nodes/n1/networks/acme"))
	s, err := n4.Look(t.Context(), "acme", []string{"n3"})
	g.ok(err)
	network := s.Networks["acme"]
	if network == nil || network.Document.Revision != 1 || network.Parts["n1"] == nil || len(network.Attachments["n1"]) != 1 {
		t.Fatalf("n4 sees %+v", network)
	}
	if network.Parts["n2"] != nil || len(s.Problems) != 1 || s.Nodes["n1"].Record == nil || s.Nodes["n3"].Identity == nil {
		t.Errorf("n4 sees parts %v, nodes %v, problems %v", network.Parts, names(s.Nodes), s.Problems)
	}
	if mine := n4.Snapshot(); len(mine.Networks) != 0 {
		t.Errorf("and has it for itself: %v", names(mine.Networks))
	}
}

// TestHistory: the registry keeps a bounded number of a network's documents, of each
// of which it is proven who signed it.
func TestHistory(t *testing.T) {
	t.Parallel()
	g := single(t, 2)
	n1, n2 := g.open(1), g.open(2)
	owner := must(trust.NewOwnerKey())
	history := func() (list []uint64) {
		t.Helper()
		all, err := n2.History(t.Context(), "acme")
		g.ok(err)
		for _, r := range all {
			if r.Err == nil {
				list = append(list, r.Revision)
			}
		}
		return list
	}
	if list := history(); len(list) != 0 {
		t.Errorf("of no network there are %v", list)
	}
	for revision := uint64(1); revision <= keptRevisions+3; revision++ {
		g.ok(g.apply(n1, owner, "acme", revision, "n1", "n2"))
		g.ok(g.apply(n1, owner, "acme", revision, "n1", "n2")) // its answer was lost
	}
	if d := cmp.Diff([]uint64{13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3}, history()); d != "" {
		t.Error(d)
	}
	all, err := n2.History(t.Context(), "acme")
	g.ok(err)
	if text := all[2].Text; text != "network: acme\nnodes: [n1, n2]\n# revision 11\n" || all[2].Owner != owner.Owner() || all[2].Applied.IsZero() {
		t.Errorf("revision 11 is %+v", all[2])
	}
	g.rawPut(revisionsOf("acme")+"12", g.rawGet(revisionsOf("acme")+"11"))
	g.rawPut(revisionsOf("acme")+"11", "{}")
	if d := cmp.Diff([]uint64{13, 10, 9, 8, 7, 6, 5, 4, 3}, history()); d != "" {
		t.Errorf("what was put in another's place, and what nobody signed: %s", d)
	}
	if s := n2.Snapshot(); len(s.Problems) != 0 {
		t.Errorf("a node hears of past documents: %v", s.Problems)
	}
	g.ok(n1.PutDocument(t.Context(), Document{Document: must(owner.Release("acme", 14))}))
	if d := cmp.Diff([]uint64{14, 13, 10, 9, 8, 7, 6, 5, 4}, history()); d != "" {
		t.Error(d)
	}
}

// TestRemoved: who holds an allocation hears of a node that was taken out of the grid,
// until one of its name is let in; one that is only not live stays as it is.
func TestRemoved(t *testing.T) {
	t.Parallel()
	g := single(t, 3)
	n1, n3 := g.open(1), g.open(3)
	g.ok(g.root().PutMember(t.Context(), "n1", g.client(1), nil))
	g.until(n1, "n2 in the roster", func(s Snapshot) bool { return s.Nodes["n2"] != nil && s.Nodes["n2"].Admitted != nil })
	g.ok(g.root().Expel(t.Context(), "n2"))
	g.ok(g.root().Expel(t.Context(), "n2"))
	g.until(n1, "n2 was taken out", func(s Snapshot) bool {
		return s.Nodes["n2"] != nil && !s.Nodes["n2"].Removed.IsZero() && s.Nodes["n2"].Admitted == nil && s.Nodes["n3"].Removed.IsZero()
	})
	if s := n3.Snapshot(); s.Nodes["n2"] != nil {
		t.Errorf("n3, which holds nothing, hears of it: %+v", s.Nodes["n2"])
	}
	g.admit(2)
	g.until(n1, "n2 is let in again", func(s Snapshot) bool { return s.Nodes["n2"].Admitted != nil && s.Nodes["n2"].Removed.IsZero() })
}
