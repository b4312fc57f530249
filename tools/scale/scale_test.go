package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/zosnet/zosnet/test/testenv"
)

// TestMain is also the member's process, and runs the tests in namespaces of their own.
func TestMain(m *testing.M) {
	if text := os.Getenv(asMember); text != "" {
		exit(serve(text))
	}
	if os.Getenv(inNamespace) == "" && os.Geteuid() == 0 {
		exit(again())
	}
	os.Exit(m.Run())
}

// TestSmallGrid: each change reaches the plan of every node of its network, and a node
// hears of its own networks only.
func TestSmallGrid(t *testing.T) {
	testenv.RequireRoot(t)
	o := options{nodes: 12, networks: 18, span: 3, rate: 20, period: 2 * time.Second, patience: 2 * time.Minute}
	r, err := simulate(t.Context(), o, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	r.print(&text)
	t.Log("\n" + text.String())
	if r.late+r.failed > 0 || len(r.whole)+r.skipped != 40 || len(r.whole) < 20 {
		t.Errorf("of 40 changes %d planned by all, %d late, %d not stored (%v), %d left out", len(r.whole), r.late, r.failed, r.why, r.skipped)
	}
	for _, c := range r.whole {
		if c.left != 0 || c.planned < c.heard || c.heard <= 0 || c.stored <= 0 {
			t.Errorf("a change: %+v", *c)
		}
	}
	// A change is an event for each of its network's nodes, the document and the span;
	// leases make a few more. All nodes hearing of all changes would be many more.
	if most := float64(2*len(r.whole)*o.span + 10*o.nodes); r.busy.events > most || r.busy.events < float64(len(r.whole)*o.span) {
		t.Errorf("%v events for %d changes to networks of %d nodes, want up to %v", r.busy.events, len(r.whole), o.span, most)
	}
	if r.idle.member.Database == 0 || r.busy.resident == 0 || r.ofSnapshot == 0 || r.ofPlan == 0 || len(r.busy.sent) != o.nodes {
		t.Errorf("not measured: %s", fmt.Sprintf("%+v", r))
	}
}
