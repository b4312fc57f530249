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

// Who is a member the CA says; the registry only which of those serve now.
func TestProvenMembers(t *testing.T) {
	now := time.Now()
	ca := must(trust.NewCA(now))
	roots := must(trust.ParseRoots(ca.CertificatePEM()))
	address, control := netip.MustParseAddr("fd00:1::1"), trust.ControlKey{1}
	request := must(trust.ParseRequest(must(must(trust.NewNodeKey()).Request("n1", control))))
	id := must(roots.Identity("n1", must(ca.IssueMember(request, address, now))))
	stolen := must(ca.IssueMember(request, address, now))
	after, _, err := ca.Revoke(roots, now, must(roots.Identity("n1", stolen)))
	if err != nil {
		t.Fatal(err)
	}

	self := grid.Node{Name: "n1", Address: address, ControlKey: control, Endpoint: netip.MustParseAddrPort("192.0.2.1:20479")}
	hidden := self
	hidden.Endpoint = netip.AddrPort{}
	for _, test := range []struct {
		name   string
		change func(*gridstore.Node)
		want   []grid.Node
	}{
		{"a member", func(*gridstore.Node) {}, []grid.Node{self}},
		{"a member without an endpoint", func(n *gridstore.Node) { n.Record = &gridstore.Record{} }, []grid.Node{hidden}},
		{"one that does not serve yet", func(n *gridstore.Node) { n.Member = netip.AddrPort{} }, nil},
		{"one of whom nothing is proven yet", func(n *gridstore.Node) { n.Identity = nil }, nil},
		{"one that has not said where it is", func(n *gridstore.Node) { n.Record = nil }, nil},
		{"a node that only the registry calls a member", func(n *gridstore.Node) {
			n.Identity = must(roots.Identity("n1", must(ca.Issue(request, address, now))))
		}, nil},
		{"one whose certificate has ended", func(n *gridstore.Node) {
			n.Identity = must(roots.Identity("n1", must(ca.IssueMember(request, address, now.Add(-trust.NodeLife-time.Hour)))))
		}, nil},
		{"one whose certificate was revoked", func(n *gridstore.Node) { n.Identity = must(after.Identity("n1", stolen)) }, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := &gridstore.Node{
				Name: "n1", Identity: id, Member: netip.MustParseAddrPort("[fd00:1::1]:2379"),
				Record: &gridstore.Record{ControlEndpoint: self.Endpoint.String()},
			}
			test.change(n)
			if got := provenMembers(gridstore.Snapshot{Nodes: map[string]*gridstore.Node{"n1": n}}, now); !slices.Equal(got, test.want) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}
