package controlplane

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/zosnet/zosnet/pkg/grid"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
	"github.com/zosnet/zosnet/pkg/trust"
)

// Who is a node the CA says; the roster only which of those are still there.
func TestProvenNodes(t *testing.T) {
	now := time.Now()
	ca := must(trust.NewCA(now))
	roots := must(trust.ParseRoots(ca.CertificatePEM()))
	address, control := netip.MustParseAddr("fd00:1::2"), trust.ControlKey{2}
	request := must(trust.ParseRequest(must(must(trust.NewNodeKey()).Request("n2", control))))
	certified := func(at time.Time) *trust.Identity {
		return must(roots.Identity("n2", must(ca.Issue(request, address, at))))
	}
	member := grid.Node{Name: "n1", Address: netip.MustParseAddr("fd00:1::1"), ControlKey: trust.ControlKey{1}, Endpoint: netip.MustParseAddrPort("192.0.2.1:20479")}
	node := grid.Node{Name: "n2", Address: address, ControlKey: control}
	for _, test := range []struct {
		name   string
		change func(map[string]*gridstore.Node)
		want   []grid.Node
	}{
		{"a node", func(map[string]*gridstore.Node) {}, []grid.Node{member, node}},
		{"one that was taken out", func(n map[string]*gridstore.Node) { n["n2"].Admitted = nil }, []grid.Node{member}},
		{"one that only the roster knows", func(n map[string]*gridstore.Node) { n["n2"].Identity = nil }, []grid.Node{member}},
		{"one to whom the roster gives another key", func(n map[string]*gridstore.Node) { n["n2"].Admitted.ControlKey = trust.ControlKey{3} }, []grid.Node{member}},
		{"one whose certificate has ended", func(n map[string]*gridstore.Node) {
			n["n2"].Identity = certified(now.Add(-trust.NodeLife - time.Hour))
		}, []grid.Node{member}},
		{"a roster that has not been heard yet", func(n map[string]*gridstore.Node) { clear(n) }, []grid.Node{member}},
	} {
		t.Run(test.name, func(t *testing.T) {
			nodes := map[string]*gridstore.Node{
				"n1": {Name: "n1", Admitted: &gridstore.Admission{Node: "n1", ControlKey: member.ControlKey}},
				"n2": {Name: "n2", Admitted: &gridstore.Admission{Node: "n2", ControlKey: control}, Identity: certified(now)},
			}
			test.change(nodes)
			if got := provenNodes(gridstore.Snapshot{Nodes: nodes}, []grid.Node{member}, now); !slices.Equal(got, test.want) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

// A member speaks to the nodes of the grid that are not live, and not to itself.
func TestSilentNodes(t *testing.T) {
	now := time.Now()
	ca := must(trust.NewCA(now))
	roots := must(trust.ParseRoots(ca.CertificatePEM()))
	self := grid.Node{Name: "n1", Address: netip.MustParseAddr("fd00:1::1"), ControlKey: trust.ControlKey{1}}
	member := grid.Node{Name: "n2", Address: netip.MustParseAddr("fd00:1::2"), ControlKey: trust.ControlKey{2}}
	address, control := netip.MustParseAddr("fd00:1::3"), trust.ControlKey{3}
	request := must(trust.ParseRequest(must(must(trust.NewNodeKey()).Request("n3", control))))
	identity := must(roots.Identity("n3", must(ca.Issue(request, address, now))))
	state := &grid.State{Node: "n1", Members: []grid.Node{self, member}}
	for _, test := range []struct {
		name                    string
		member, node, dismissed bool
		want                    []netip.Addr
	}{
		{"all are live", true, true, false, nil},
		{"a node is not", true, false, false, []netip.Addr{address}},
		{"a member is not", false, true, false, []netip.Addr{member.Address}},
		{"one that was taken out", true, false, true, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			nodes := map[string]*gridstore.Node{
				"n1": {Name: "n1"},
				"n2": {Name: "n2", Live: test.member},
				"n3": {Name: "n3", Live: test.node, Identity: identity, Admitted: &gridstore.Admission{Node: "n3", ControlKey: control}},
			}
			if test.dismissed {
				nodes["n3"].Admitted = nil
			}
			if got := silentNodes(gridstore.Snapshot{Nodes: nodes}, state, now); !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}
