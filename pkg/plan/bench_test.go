package plan

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/zosnet/zosnet/pkg/spec"
)

// BenchmarkCompute is the plan of a node of 40 networks over eight nodes each, with a
// workload of each network on each node: the first one, and those in which one network's
// rules have changed since the last.
func BenchmarkCompute(b *testing.B) {
	in := manyNetworks(b)
	b.Run("first", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			mustCompute(b, in)
		}
	})
	b.Run("next", func(b *testing.B) {
		b.ReportAllocs()
		m := &Memo{}
		for i := 0; b.Loop(); i++ {
			changed := *in.Networks[i%len(in.Networks)].Document
			in.Networks[i%len(in.Networks)].Document = &changed
			if _, err := m.Compute(in); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func manyNetworks(b *testing.B) Input {
	const networks, nodes = 40, 8
	in := Input{Node: &spec.Node{Name: "n0", Endpoint: netip.MustParseAddr("192.0.2.1"), Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8:aaaa::/56")}},
		FlowSets: 1 << 18, FlowShares: 6}
	names := []string{"n0"}
	for j := 1; j < nodes; j++ {
		names = append(names, fmt.Sprintf("n%d", j))
		in.Nodes = append(in.Nodes, Node{Name: names[j], Endpoint: netip.MustParseAddr("192.0.2.2"),
			Blocks: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("2001:db8:%x::/48", j))}})
	}
	for i := range networks {
		name := fmt.Sprintf("net-%d", i)
		text := fmt.Sprintf(`network: %s
nodes: [%s]
services:
  web: {ports: [tcp/80, tcp/443]}
  db:  {ports: [tcp/5432]}
rules:
  - allow: {from: web, to: db, ports: [tcp/5432]}
  - deny:  {from: inside, to: db, log: true}
  - deny:  {from: inside, to: outside, ports: [tcp/25]}
  - allow: {from: 2001:db8:77::/48, to: web, ports: [tcp/8000-8100, icmpv6/echo-request]}
expose:
  - {service: web, ports: [tcp/443]}
`, name, strings.Join(names, ", "))
		prefix := netip.MustParsePrefix(fmt.Sprintf("2001:db8:aaaa:%x::/64", i+1))
		in.Networks = append(in.Networks, Record{Document: decodeNetwork(b, text), ID: uint32(i + 1), Prefix: prefix,
			Services: map[string]uint32{"web": uint32(2*i + 1), "db": uint32(2*i + 2)}})
		in.Attachments = append(in.Attachments, Attachment{Network: name, Service: "web", Name: "web-0", Kind: WorkloadNetns, Host: 0x100})
		in.Parts = append(in.Parts, Part{Network: name, Node: "n0", Prefix: prefix, PublicKey: [32]byte{1}, Port: uint16(20480 + i)})
		for j := 1; j < nodes; j++ {
			there := netip.MustParsePrefix(fmt.Sprintf("2001:db8:%x:%x::/64", j, i+1))
			in.Parts = append(in.Parts, Part{Network: name, Node: names[j], Prefix: there, PublicKey: [32]byte{byte(j), 2}, Port: uint16(20480 + i)})
			in.Remote = append(in.Remote, Remote{Network: name, Service: "web", Name: fmt.Sprintf("web-%d", j), Node: names[j], Addresses: []netip.Addr{there.Addr().Next()}})
		}
	}
	return in
}
