package plan

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/zosnet/zosnet/pkg/spec"
)

// TestChangedNetworks: what of a node's input touches one network's rules, peers and
// addresses elsewhere, and what means that everything is to be compared.
func TestChangedNetworks(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(in *Input)
		want   []string
		only   bool
	}{
		{"nothing", func(*Input) {}, nil, true},
		{"a peer's port", func(in *Input) { in.Parts[1].Port = 51003 }, []string{"globex"}, true},
		{"a peer's key", func(in *Input) { in.Parts[2].PublicKey = [32]byte{9} }, []string{"globex"}, true},
		{"a node's endpoint", func(in *Input) { in.Nodes[0].Endpoint = netip.MustParseAddr("192.0.2.9") }, []string{"globex"}, true},
		{"a node has gone", func(in *Input) { in.Parts = in.Parts[:2] }, []string{"globex"}, true},
		{"a workload elsewhere", func(in *Input) {
			in.Remote[0].Addresses = []netip.Addr{netip.MustParseAddr("2001:db8:bbbb:2::101")}
		}, []string{"globex"}, true},
		{"one fewer elsewhere", func(in *Input) { in.Remote = in.Remote[:1] }, []string{"globex"}, true},
		{"a rule", func(in *Input) {
			d := *in.Networks[0].Document
			d.Default.Outbound = spec.Deny
			in.Networks[0].Document = &d
		}, []string{"acme"}, true},
		{"a peer is left out", func(in *Input) { in.Parts[2].Port = 0 }, []string{"globex"}, true},
		{"this node's port", func(in *Input) { in.Parts[0].Port = 51009 }, nil, false},
		{"a workload here", func(in *Input) { in.Attachments = in.Attachments[1:] }, nil, false},
		{"a network", func(in *Input) { in.Networks = in.Networks[:1]; in.Attachments = nil }, nil, false},
		{"the MTU", func(in *Input) { in.MTU = 1400 }, nil, false},
		{"the lockdown", func(in *Input) {
			node := *in.Node
			node.Lockdown.Allow = append(slices.Clone(node.Lockdown.Allow), spec.LockdownAllow{From: netip.MustParsePrefix("203.0.113.0/24")})
			in.Node = &node
		}, nil, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			in := spanning(t)
			in.Parts, in.Nodes, in.Remote = slices.Clone(in.Parts), slices.Clone(in.Nodes), slices.Clone(in.Remote)
			before := mustCompute(t, in)
			row.change(&in)
			got, only := ChangedNetworks(before, mustCompute(t, in))
			if d := cmp.Diff(row.want, got, cmpopts.EquateEmpty()); d != "" || only != row.only {
				t.Errorf("only these: %v, want %v (-want +got)\n%s", only, row.only, d)
			}
		})
	}
}

// TestOf: a network's own state, and nothing of others or of the node.
func TestOf(t *testing.T) {
	s := mustCompute(t, spanning(t))
	of := s.Of([]string{"globex"})
	if len(of.Networks) != 1 || len(of.Overlays) != 1 || len(of.Lockdown)+len(of.Prefixes)+len(of.Uplinks) != 0 {
		t.Fatalf("of globex: %+v", of)
	}
	for _, b := range of.Bindings {
		if b.NetworkID != of.Networks[0].ID {
			t.Errorf("%s is of network %d", b.Address, b.NetworkID)
		}
	}
	if len(of.Bindings) == 0 || len(of.Bindings) == len(s.Bindings) {
		t.Errorf("%d addresses of %d", len(of.Bindings), len(s.Bindings))
	}
}
