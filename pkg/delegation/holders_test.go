package delegation

import (
	"net/netip"
	"testing"

	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
)

// TestHolders: whose word makes a block a node's. Any node may sign that it holds
// any prefix and gave any block of it away; who came later with what another holds is
// not believed.
func TestHolders(t *testing.T) {
	holder := func(name, prefix string, at int64, blocks map[string]string) *gridstore.Node {
		p := netip.MustParsePrefix(prefix)
		n := &gridstore.Node{
			Name: name, Registered: map[netip.Prefix]int64{p: at},
			Holding: ipam.Holding{Holder: name, Registrations: map[netip.Prefix]ipam.Registration{p: {Prefix: p, Holder: name}}, Blocks: map[netip.Prefix]ipam.Delegation{}},
		}
		for block, node := range blocks {
			n.Holding.Blocks[netip.MustParsePrefix(block)] = ipam.Delegation{Node: node}
		}
		return n
	}
	const block, inside = "2001:db8:1:100::/56", "2001:db8:1:180::/57"
	honest := holder("gw1", "2001:db8:1::/48", 10, map[string]string{block: "n2"})
	tests := []struct {
		name                string
		nodes               []*gridstore.Node
		node, holder, block string
		want                bool
	}{
		{"the holder gave it", []*gridstore.Node{honest}, "n2", "gw1", block, true},
		{"it gave it to another", []*gridstore.Node{honest}, "n3", "gw1", block, false},
		{"nobody gave it", []*gridstore.Node{honest}, "n2", "gw1", "2001:db8:1:200::/56", false},
		{"a holder that nobody knows", []*gridstore.Node{honest}, "n2", "gw9", block, false},
		{"out of what it does not hold", []*gridstore.Node{holder("n3", "2001:db8:3::/48", 20, map[string]string{block: "n3"})}, "n3", "n3", block, false},
		{"a later one with the same prefix", []*gridstore.Node{honest, holder("n3", "2001:db8:1::/48", 20, map[string]string{block: "n3"})}, "n3", "n3", block, false},
		{"a later one with more around it", []*gridstore.Node{honest, holder("n3", "2001:db8::/32", 20, map[string]string{block: "n3"})}, "n3", "n3", block, false},
		{"a later one with a piece of it", []*gridstore.Node{honest, holder("n3", block, 20, map[string]string{inside: "n3"})}, "n3", "n3", inside, false},
		{"the first stays the holder", []*gridstore.Node{honest, holder("a3", "2001:db8::/32", 20, map[string]string{block: "a3"})}, "n2", "gw1", block, true},
		{"beside others", []*gridstore.Node{honest, holder("n3", "2001:db8:2::/48", 20, map[string]string{"2001:db8:2:100::/56": "n3"})}, "n3", "n3", "2001:db8:2:100::/56", true},
	}
	for _, tt := range tests {
		snap := gridstore.Snapshot{Nodes: map[string]*gridstore.Node{}}
		for _, n := range tt.nodes {
			snap.Nodes[n.Name] = n
		}
		block := netip.MustParsePrefix(tt.block)
		if got := HoldersOf(snap).Gave(snap, tt.holder, block, tt.node); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
