package daemon

import (
	"net/netip"
	"testing"

	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/policy"
	"github.com/zosnet/zosnet/pkg/spec"
)

// A workload on another node is traced by its name, its service and its address, as
// one of this node; one that the plan leaves out is nobody.
func TestTraceToAnotherNode(t *testing.T) {
	node, err := spec.DecodeNode("node.yaml", []byte("node: n1\nendpoint: 192.0.2.1\nprefixes: [2001:db8:aaaa::/48]\n"))
	if err != nil {
		t.Fatal(err)
	}
	network, _, err := spec.DecodeNetwork("acme.yaml", []byte(`
network: acme
nodes: [n1, n2]
services: {web: {}, db: {}}
rules:
  - allow: {from: web, to: db, ports: [tcp/5432]}
  - deny: {from: inside, to: db}
`))
	if err != nil {
		t.Fatal(err)
	}
	far := netip.MustParsePrefix("2001:db8:bbbb:1::/64")
	input := plan.Input{
		Node: node, FlowSets: 1 << 18, FlowShares: 6,
		Networks: []plan.Record{{
			Document: network, ID: 1, Prefix: netip.MustParsePrefix("2001:db8:aaaa:1::/64"), Services: map[string]uint32{"web": 1, "db": 2},
		}},
		Attachments: []plan.Attachment{{Network: "acme", Service: "web", Name: "web-1", Kind: plan.WorkloadNetns, Host: 0x100}},
		Nodes:       []plan.Node{{Name: "n2", Endpoint: netip.MustParseAddr("192.0.2.2"), Blocks: []netip.Prefix{far}}},
		Parts: []plan.Part{
			{Network: "acme", Node: "n1", Prefix: netip.MustParsePrefix("2001:db8:aaaa:1::/64"), PublicKey: [32]byte{1}, Port: 51001},
			{Network: "acme", Node: "n2", Prefix: far, PublicKey: [32]byte{2}, Port: 51001},
		},
		Remote: []plan.Remote{
			{Network: "acme", Service: "db", Name: "db-1", Node: "n2", Addresses: []netip.Addr{netip.MustParseAddr("2001:db8:bbbb:1::100")}},
			{Network: "acme", Service: "db", Name: "db-2", Node: "n9", Addresses: []netip.Addr{netip.MustParseAddr("2001:db8:bbbb:1::200")}},
		},
	}
	state, err := plan.Compute(input)
	if err != nil {
		t.Fatal(err)
	}
	world := view{input: input, state: state}.world()
	for _, c := range []struct {
		from, to string
		port     uint16
		want     string
	}{
		{"acme/web-1", "acme/db-1", 5432, policy.Allowed},
		{"acme/web-1", "acme/db", 80, policy.Denied},
		{"acme/db-1", "acme/web-1", 80, policy.Allowed},
		{"acme/web-1", "2001:db8:bbbb:1::100", 80, policy.Denied},
		{"acme/web-1", "2001:db8:bbbb:1::200", 80, policy.Allowed}, // outside
	} {
		trace, err := world.Trace(policy.Query{From: c.from, To: c.to, Proto: spec.ProtoTCP, Port: c.port})
		if err != nil || trace.Verdict != c.want {
			t.Errorf("%s to %s tcp/%d: %s by %s, %v; want %s", c.from, c.to, c.port, trace.Verdict, trace.Rule, err, c.want)
		}
	}
	if _, err := world.Trace(policy.Query{From: "acme/web-1", To: "acme/db-2", Proto: spec.ProtoTCP, Port: 80}); err == nil {
		t.Error("a workload behind no peer of this node can be traced")
	}
}
