package node

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/zosnet/zosnet/test/lab"
)

// TestExhausted: who makes a network too many is told how much is used by whom, when the
// next /64 is free and what to do; nothing is changed by that. A prefix that node.yaml
// names no more leaves its networks where they are, and status says which.
func TestExhausted(t *testing.T) {
	n := start(t, lab.Config{})
	document := func(name string) string { return "network: " + name + "\nnodes: [n1]\nservices: {web: {}}\n" }
	n.rewrite(lab.Allocation.String(), netip.PrefixFrom(lab.Allocation.Addr(), 62).String()) // three, and the node's own
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		out, err := n.daemon.CLI(t.Context(), "prefix", "ls")
		if err == nil && strings.Contains(out, "/62") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the prefixes: %s %v", out, err)
		}
	}
	n.apply(document("acme"), document("globex"), document("gone"))
	if _, err := n.daemon.CLI(t.Context(), "delete", "gone"); err != nil {
		t.Fatal(err)
	}
	err := n.daemon.Apply(t.Context(), document("late"))
	for _, want := range []string{
		`allocate a /64 for network "late" from 2001:db8:aaaa::/62`, "all 3 are used: 2 by networks (acme, globex), 1 released but resting (the next is free at ",
		"delete a network, or add a prefix: `prefixes` in node.yaml, or zosnet prefix register",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("it is not said %q: %v", want, err)
		}
	}
	if out, err := n.daemon.CLI(t.Context(), "network", "ls"); err != nil || strings.Contains(out, "late") {
		t.Errorf("the networks: %s %v", out, err)
	}
	if _, err := n.daemon.CLI(t.Context(), "prefix", "register", "2001:db8:aaab::/62", "--source", "a test"); err != nil {
		t.Fatal(err)
	}
	n.apply(document("late"))

	if _, err := n.daemon.CLI(t.Context(), "prefix", "release", "2001:db8:aaab::/62"); err == nil || !strings.Contains(err.Error(), "still used by network late") {
		t.Errorf("what late uses is released: %v", err)
	}
	out, err := n.daemon.CLI(t.Context(), "prefix", "release", "2001:db8:aaab::/62", "--force")
	const stranded = "network late has 2001:db8:aaab:1::/64, which is in no prefix of this node any more"
	if err != nil || !strings.Contains(out, "warning: "+stranded) {
		t.Errorf("released by force: %s %v", out, err)
	}
	if out, err := n.daemon.CLI(t.Context(), "status"); err != nil || !strings.Contains(out, stranded) {
		t.Errorf("the status: %s %v", out, err)
	}
}
