package grid_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// block is what `zosnet prefix show` tells of a block.
type block struct {
	Block     netip.Prefix
	Node      string
	Elsewhere bool
}

// delegated checks the block that a node without a prefix has of the holder's: the
// workload's address is in it, both tell the same of it, and the holder gives it up
// for nothing.
func delegated(t *testing.T, holder, taker *node, workload netip.Addr) {
	t.Helper()
	if !allocation.Contains(workload) {
		t.Errorf("the workload has %v, which is not in %v", workload, allocation)
	}
	var of [2]block
	for i, n := range []*node{holder, taker} {
		await(t, patience, func() error {
			blocks := n.blocks(t)
			found := slices.IndexFunc(blocks, func(b block) bool { return b.Block.Contains(workload) })
			if found < 0 {
				return fmt.Errorf("%s knows of no block with %v: %+v", n.name, workload, blocks)
			}
			of[i] = blocks[found]
			return nil
		})
	}
	want := block{Block: of[0].Block, Node: taker.name}
	if of[1] != want || of[0] != (block{Block: want.Block, Node: taker.name, Elsewhere: true}) || want.Block.Bits() != 56 {
		t.Errorf("the holder says %+v, the node %+v", of[0], of[1])
	}
	// What nobody has of the block is unreachable at its node, and is the world's
	// elsewhere.
	unassigned := lastOf(want.Block)
	if out, err := taker.Run(t.Context(), "ip", "-6", "route", "get", unassigned.String()); err == nil {
		t.Errorf("%s sends %v by %s", taker.name, unassigned, out)
	}
	if out, err := holder.Run(t.Context(), "ip", "-6", "route", "get", unassigned.String()); err != nil || !strings.Contains(out, "dev eth0") {
		t.Errorf("%s sends %v by %s, %v", holder.name, unassigned, out, err)
	}
	if out, err := holder.Run(t.Context(), "ip", "-6", "route", "get", lastOf(allocation).String()); err == nil {
		t.Errorf("%s sends what nobody has of its prefix by %s", holder.name, out)
	}
	if own := holder.blocks(t); !slices.ContainsFunc(own, func(b block) bool { return b.Node == holder.name }) {
		t.Errorf("the holder has no block of its own: %+v", own)
	}
	if _, err := holder.cli("prefix", "register", "2001:db8:aa02::/48", "--source", "a test"); err != nil {
		t.Error(err)
	}
	if out, err := taker.cli("prefix", "ls"); err != nil || !strings.Contains(out, "2001:db8:aa02::/48") || !strings.Contains(out, allocation.String()) {
		t.Errorf("another node does not show the grid's prefixes: %s %v", out, err)
	}
	if _, err := taker.cli("prefix", "register", "2001:db8:aa02:100::/56"); err == nil || !strings.Contains(err.Error(), holder.name+" holds") {
		t.Errorf("a part of another node's prefix was registered: %v", err)
	}
	if _, err := holder.cli("prefix", "release", "2001:db8:aa02::/48"); err != nil {
		t.Error(err)
	}
	if _, err := holder.cli("prefix", "release", allocation.String()); err == nil || !strings.Contains(err.Error(), "reload") {
		t.Errorf("what node.yaml names was released: %v", err)
	}
	routed(t, holder, taker, want.Block)
}

// routed gives the upstream's router what the holder prints for it: then everything
// leads where it is.
func routed(t *testing.T, holder, taker *node, delegated netip.Prefix) {
	t.Helper()
	if out, err := taker.cli("prefix", "verify"); err == nil || !strings.Contains(out, delegated.String()) {
		t.Errorf("the block is routed to its node before the upstream knows of it: %s", out)
	}
	var routes string
	eventually(t, "the holder's routes are complete", func() bool {
		var err error
		routes, err = holder.cli("routes")
		check(t, err)
		return strings.Contains(routes, "route replace "+delegated.String()+" via ") && strings.Contains(routes, "route replace "+allocation.String()+" via ")
	})
	if own, err := taker.cli("routes"); err != nil || !strings.Contains(routes, own) || strings.Count(own, "\n") > 0 {
		t.Errorf("the node's routes: %s %v; the holder's: %s", own, err, routes)
	}
	if _, err := holder.grid.Router.Run(t.Context(), "sh", "-ec", routes); err != nil {
		t.Fatal(err)
	}
	for _, n := range []*node{holder, taker} {
		if out, err := n.cli("prefix", "verify"); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	}
}

// lastOf gives the last address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	raw := p.Masked().Addr().As16()
	for bit := p.Bits(); bit < 128; bit++ {
		raw[bit/8] |= 0x80 >> (bit % 8)
	}
	return netip.AddrFrom16(raw)
}

func (n *node) blocks(t *testing.T) []block {
	t.Helper()
	out, err := n.cli("prefix", "show", allocation.String(), "-o", "json")
	check(t, err)
	var shown struct{ Blocks []block }
	check(t, json.Unmarshal([]byte(out), &shown))
	return shown.Blocks
}

// hasBlockOf checks that a node counts the block of an address as its own, and that what
// nobody has of it is unreachable: also without the registry.
func (n *node) hasBlockOf(a netip.Addr) {
	n.t.Helper()
	out, err := n.cli("status", "-o", "json")
	check(n.t, err)
	var status struct{ Prefixes []netip.Prefix }
	check(n.t, json.Unmarshal([]byte(out), &status))
	i := slices.IndexFunc(status.Prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
	if i < 0 {
		n.t.Errorf("%s has %v, and no block with %v", n.name, status.Prefixes, a)
		return
	}
	if out, err := n.Run(n.t.Context(), "ip", "-6", "route", "get", lastOf(status.Prefixes[i]).String()); err == nil {
		n.t.Errorf("%s sends what nobody has of its block by %s", n.name, out)
	}
}
