package delegation

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
	"github.com/zosnet/zosnet/pkg/spec"
)

// TestRoutes: what an upstream of a holder, and of who has a block of it, is to route
// where: by what nodes say of themselves, whatever that is.
func TestRoutes(t *testing.T) {
	g := newEtcdGrid(t, []string{"gw1", "n1"}, "2001:db8::/55")
	gw1, n1 := g.nodes[0], g.nodes[1]
	g.until("n1 has a block", g.nodes, func() bool { return len(n1.uses()) == 1 && len(gw1.given()) == 2 })
	routes := func(n *etcdNode, via string, want ...string) {
		t.Helper()
		var hop netip.Addr
		if via != "" {
			hop = netip.MustParseAddr(via)
		}
		list, unrouted, err := n.Routes(t.Context(), hop)
		if err != nil {
			unrouted = append(unrouted, err.Error())
		}
		var got []string
		for _, r := range list {
			got = append(got, fmt.Sprintf("%s via %s # %s", r.Block, r.NextHop, r.Node))
		}
		if d := cmp.Diff(want, append(got, unrouted...)); d != "" {
			t.Errorf("of %s: %s", n.node().Name, d)
		}
	}
	says := func(record gridstore.Record) {
		t.Helper()
		g.ok(n1.client.PutRecord(t.Context(), record))
		g.until("gw1 hears of it", nil, func() bool {
			r := gw1.client.Snapshot().Nodes["n1"].Record
			return r != nil && r.NextHop == record.NextHop && r.Endpoint == record.Endpoint
		})
	}
	const own, unknown = "2001:db8::/55 via 2001:db8:f::1 # gw1", "2001:db8:0:100::/56 is node n1's, of which no IPv6 address is known: it stays with what is around it"
	routes(gw1, "2001:db8:f::1", own, unknown)
	routes(n1, "2001:db8:f::2", "2001:db8:0:100::/56 via 2001:db8:f::2 # n1")
	says(gridstore.Record{Endpoint: netip.MustParseAddr("192.0.2.7")})
	routes(gw1, "2001:db8:f::1", own, unknown)
	says(gridstore.Record{Endpoint: netip.MustParseAddr("2001:db8:f::7"), NextHop: netip.MustParseAddr("192.0.2.7")})
	routes(gw1, "2001:db8:f::1", own, "2001:db8:0:100::/56 via 2001:db8:f::7 # n1")
	says(gridstore.Record{Endpoint: netip.MustParseAddr("2001:db8:f::7"), NextHop: netip.MustParseAddr("2001:db8:f::2")})
	routes(gw1, "2001:db8:f::1", own, "2001:db8:0:100::/56 via 2001:db8:f::2 # n1")

	routes(gw1, "", "this node's uplinks have no global IPv6 address that lasts; name the one that the upstream sends to: --via ADDRESS")
	gw1.file.Store(&spec.Node{Name: "gw1", Prefixes: pfxs("2001:db8::/55"), Endpoint: netip.MustParseAddr("2001:db8:f::9")})
	routes(gw1, "", strings.Replace(own, "f::1", "f::9", 1), "2001:db8:0:100::/56 via 2001:db8:f::2 # n1")
	if _, err := n1.Verify(t.Context(), pfx("2001:db8::/56")); err == nil || !strings.Contains(err.Error(), "nothing of it is routed to this node") {
		t.Errorf("n1 verifies what is gw1's: %v", err)
	}
}

// TestHoldings: a node tells what the whole grid holds, and of itself what its node.yaml
// says.
func TestHoldings(t *testing.T) {
	g := newEtcdGrid(t, []string{"gw1", "gw2", "n1"}, "2001:db8:1::/48")
	gw2, n1 := g.nodes[1], g.nodes[2]
	g.ok(gw2.Register(t.Context(), gw2.client, ipam.Registration{Prefix: pfx("2001:db8:2::/48"), Source: "LIR"}))
	g.until("n1 has a block", g.nodes, func() bool { return len(n1.uses()) > 0 })
	for _, row := range []struct {
		of   *etcdNode
		want map[string]string // holder → its registrations, with their sources
	}{
		{g.nodes[0], map[string]string{"gw1": "2001:db8:1::/48 -", "gw2": "2001:db8:2::/48 LIR"}},
		{gw2, map[string]string{"gw1": "2001:db8:1::/48 node.yaml", "gw2": "2001:db8:2::/48 LIR"}},
		{n1, map[string]string{"gw1": "2001:db8:1::/48 node.yaml", "gw2": "2001:db8:2::/48 LIR", "n1": ""}},
	} {
		_, holdings, err := row.of.Holdings(t.Context())
		g.ok(err)
		got := map[string]string{}
		for holder, h := range holdings {
			got[holder] = ""
			for p, r := range h.Registrations {
				got[holder] += fmt.Sprintf("%s %s", p, r.Source)
			}
		}
		if d := cmp.Diff(row.want, got); d != "" {
			t.Errorf("%s: %s", row.of.node().Name, d)
		}
	}
}
