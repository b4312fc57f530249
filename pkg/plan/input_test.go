package plan

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/zosnet/zosnet/pkg/spec"
)

// room is what the datapath of the tests has: 1 << 20 flows in sets of four.
const room, shares = 1 << 18, 6

const nodeYAML = `
node: n1
uplinks: [eth1, eth0]
prefixes: ["2001:db8:aaaa::/54"]
lockdown:
  allow:
    - {from: 203.0.113.0/24, ports: [tcp/22]}
`

const acmeYAML = `
network: acme
nodes: [n1]
services:
  web: {ports: [tcp/80, tcp/443]}
  db:  {ports: [tcp/5432]}
rules:
  - allow: {from: web, to: db, ports: [tcp/5432]}
  - deny:  {from: inside, to: db, log: true}
  - allow: {from: globex/batch, to: web}
  - allow: {from: "2001:db8:77::/48", to: web, ports: [tcp/8000-8100, icmpv6/echo-request]}
expose:
  - {service: web, ports: [tcp/443]}
`

const globexYAML = `
network: globex
nodes: [n1, n2]
services: {batch: {}, vm: {}}
`

const elsewhereYAML = `
network: elsewhere
nodes: [n2]
services: {web: {}}
`

func decodeNode(t testing.TB, text string) *spec.Node {
	t.Helper()
	node, err := spec.DecodeNode("node.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return node
}

func decodeNetwork(t testing.TB, text string) *spec.Network {
	t.Helper()
	network, _, err := spec.DecodeNetwork("network.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return network
}

// twoNetworks is a node with two networks, a workload of every kind, and a third
// network that does not span it.
func twoNetworks(t testing.TB) Input {
	return Input{
		Node:       decodeNode(t, nodeYAML),
		FlowSets:   room,
		FlowShares: shares,
		Networks: []Record{
			{decodeNetwork(t, acmeYAML), 1, netip.MustParsePrefix("2001:db8:aaaa:1::/64"), map[string]uint32{"web": 1, "db": 2}, nil},
			{decodeNetwork(t, globexYAML), 2, netip.MustParsePrefix("2001:db8:aaaa:2::/64"), map[string]uint32{"batch": 3, "vm": 4}, nil},
			{decodeNetwork(t, elsewhereYAML), 3, netip.MustParsePrefix("2001:db8:aaaa:3::/64"), map[string]uint32{"web": 5}, nil},
		},
		Attachments: []Attachment{
			{Network: "acme", Service: "web", Name: "web-1", Kind: WorkloadNetns, Host: 0x100},
			{Network: "acme", Service: "db", Name: "db-1", Kind: WorkloadPath, NetnsPath: "/run/netns/db", Host: 0x101},
			{Network: "globex", Service: "batch", Name: "batch-1", Kind: WorkloadNetns, Host: 0x100},
			{Network: "globex", Service: "vm", Name: "vm-1", Kind: WorkloadTap, TapName: "tap0", Host: 0x101},
			{Network: "elsewhere", Service: "web", Name: "web-1", Kind: WorkloadNetns, Host: 0x100},
		},
		Learned: []Learned{
			{"globex", "vm-1", netip.MustParseAddr("2001:db8:aaaa:2:5054:ff:fe00:1"), [6]byte{0x52, 0x54, 0, 0, 0, 1}},
			{"globex", "vm-1", netip.MustParseAddr("fe80::5054:ff:fe00:1"), [6]byte{0x52, 0x54, 0, 0, 0, 1}},
		},
	}
}

func mustCompute(t testing.TB, in Input) State {
	t.Helper()
	s, err := Compute(in)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s State) network(t testing.TB, name string) Network {
	t.Helper()
	i := slices.IndexFunc(s.Networks, func(n Network) bool { return n.Name == name })
	if i < 0 {
		t.Fatalf("the state has no network %s", name)
	}
	return s.Networks[i]
}

func (s State) workload(t testing.TB, network, name string) Workload {
	t.Helper()
	i := slices.IndexFunc(s.Workloads, func(w Workload) bool { return w.Network == network && w.Name == name })
	if i < 0 {
		t.Fatalf("the state has no workload %s/%s", network, name)
	}
	return s.Workloads[i]
}

func diffStates(want, got State) string {
	return cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}))
}
