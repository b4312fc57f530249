package policy_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zosnet/zosnet/pkg/policy"
	"github.com/zosnet/zosnet/pkg/spec"
)

func decode(t testing.TB, text string) *spec.Network {
	t.Helper()
	doc, _, err := spec.DecodeNetwork("acme.yaml", []byte(text))
	if err != nil {
		t.Fatalf("decode the test's document: %v", err)
	}
	return doc
}

// ids numbers the services of documents as a registry would, from 1.
func ids(docs ...*spec.Network) map[string]policy.IDs {
	all := map[string]policy.IDs{}
	next := uint32(1)
	for i, doc := range docs {
		own := policy.IDs{Network: uint32(i + 1), Services: map[string]uint32{}, Peer: map[string]map[string]uint32{}}
		for _, s := range doc.Services {
			own.Services[s.Name] = next
			next++
		}
		all[doc.Name] = own
	}
	for name, own := range all {
		for other, theirs := range all {
			if other != name {
				own.Peer[other] = theirs.Services
			}
		}
	}
	return all
}

const example = `
network: acme
nodes: [n1]
services:
  web: {ports: [tcp/80, tcp/443]}
  db: {ports: [tcp/5432]}
rules:
  - allow: {from: web, to: db, ports: [tcp/5432]}
  - deny: {from: inside, to: db, log: true}
  - deny: {from: inside, to: outside, ports: [tcp/25]}
  - allow: {from: 2001:db8:77::/48, to: web, ports: [tcp/8000-8100, icmpv6/echo-request]}
expose:
  - {service: web, ports: [tcp/443]}
`

func bits(positions ...int) policy.Bits {
	b := make(policy.Bits, 1)
	for _, p := range positions {
		b.Set(p)
	}
	return b
}

func TestCompileExample(t *testing.T) {
	doc := decode(t, example)
	p, err := policy.Compile(doc, ids(doc)["acme"])
	if err != nil {
		t.Fatal(err)
	}
	const web, db, outside = 1, 2, 0
	const expose, inside, inbound, outbound = 4, 5, 6, 7
	wantFrom := map[uint32]policy.Bits{
		web:     bits(0, 1, 2, inside, outbound),
		db:      bits(1, 2, inside, outbound),
		outside: bits(expose, inbound),
	}
	wantTo := map[uint32]policy.Bits{
		web:     bits(3, expose, inside, inbound),
		db:      bits(0, 1, inside, inbound),
		outside: bits(2, outbound),
	}
	if diff := cmp.Diff(wantFrom, p.FromService); diff != "" {
		t.Errorf("from service (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(wantTo, p.ToService); diff != "" {
		t.Errorf("to service (-want +got):\n%s", diff)
	}
	wantCIDRs := []policy.CIDRClass{{Prefix: netip.MustParsePrefix("2001:db8:77::/48"), Class: 0}}
	if diff := cmp.Diff(wantCIDRs, p.CIDRs, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("CIDRs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]policy.Bits{bits(3)}, p.FromCIDR); diff != "" {
		t.Errorf("from CIDR (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(bits(0, 3, expose, inside, outbound), p.Allow); diff != "" {
		t.Errorf("allow (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(bits(1), p.Log); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	last := p.Entries[len(p.Entries)-3:]
	if last[0].Side != policy.Inside || last[1].Side != policy.Inbound || last[2].Side != policy.Outbound {
		t.Errorf("the last entries are %v, want the defaults inside, inbound, outbound", last)
	}
	if got, want := p.Entries[1].String(), "acme.yaml:9:5 rules[1] deny from inside to db log"; got != want {
		t.Errorf("entry 1 reads %q, want %q", got, want)
	}
}

func TestCompilePorts(t *testing.T) {
	doc := decode(t, example)
	p, err := policy.Compile(doc, ids(doc)["acme"])
	if err != nil {
		t.Fatal(err)
	}
	const expose = 4
	any := []int{1, 5, 6, 7}
	for _, c := range []struct {
		proto, port uint16
		want        []int
	}{
		{6, 5432, []int{0}},
		{6, 5431, nil},
		{6, 25, []int{2}},
		{6, 7999, nil},
		{6, 8000, []int{3}},
		{6, 8063, []int{3}},
		{6, 8064, []int{3}},
		{6, 8100, []int{3}},
		{6, 8101, nil},
		{6, 443, []int{expose}},
		{17, 443, nil},
		{58, 128, []int{3}},
		{58, 129, nil},
		{132, 80, nil},
		{47, 0, nil},
	} {
		want := bits(append(c.want, any...)...)
		if diff := cmp.Diff(want, portClass(&p, c.proto, c.port)); diff != "" {
			t.Errorf("protocol %d port %d (-want +got):\n%s", c.proto, c.port, diff)
		}
	}
}

func TestCompileNestedCIDRs(t *testing.T) {
	doc := decode(t, `
network: acme
nodes: [n1]
services: {web: {}}
rules:
  - deny: {from: 2001:db8:1:2::/64, to: web}
  - allow: {from: ["2001:db8:1::/48", 203.0.113.0/24], to: web}
  - deny: {from: 2001:db8:1:2::/64, to: web, ports: [tcp/1]}
  - allow: {from: web, to: ["2001:db8::/32", "::/0"]}
  - allow: {from: web, to: "2001:db8:1:2::5/128"}
  - allow: {from: web, to: [::/0, "2001:db8:1:2::6/128"]}
`)
	p, err := policy.Compile(doc, ids(doc)["acme"])
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		address  string
		from, to []int
	}{
		{"2001:db8:1:2::1", []int{0, 1, 2}, []int{3, 5}},
		{"2001:db8:1:2::5", []int{0, 1, 2}, []int{3, 4, 5}},
		{"2001:db8:1:2::6", []int{0, 1, 2}, []int{3, 5}},
		{"2001:db8:1:3::1", []int{1}, []int{3, 5}},
		{"2001:db8:2::1", nil, []int{3, 5}},
		{"::1", nil, []int{3, 5}},
	} {
		from, to := cidrClass(&p, netip.MustParseAddr(c.address))
		if diff := cmp.Diff(bits(c.from...), from); diff != "" {
			t.Errorf("from %s (-want +got):\n%s", c.address, diff)
		}
		if diff := cmp.Diff(bits(c.to...), to); diff != "" {
			t.Errorf("to %s (-want +got):\n%s", c.address, diff)
		}
	}
	if len(p.CIDRs) != 4 {
		t.Errorf("%d prefixes, want 4: IPv4 has no place, and what adds nothing to its covering prefix needs none: %v",
			len(p.CIDRs), p.CIDRs)
	}
}

func TestCompileServices(t *testing.T) {
	acme := decode(t, `
network: acme
nodes: [n1]
services: {web: {ports: [tcp/80]}}
rules:
  - allow: {from: globex/api, to: web}
  - allow: {from: globex/gone, to: web}
  - allow: {from: nowhere/api, to: web}
  - deny: {from: any, to: web, ports: [tcp/1]}
  - allow: {from: outside, to: web, ports: [tcp/2]}
`)
	globex := decode(t, "{network: globex, nodes: [n1], services: {api: {}, other: {}}}")
	numbers := ids(acme, globex)
	p, err := policy.Compile(acme, numbers["acme"])
	if err != nil {
		t.Fatal(err)
	}
	api, other := numbers["globex"].Services["api"], numbers["globex"].Services["other"]
	const inbound = 6
	if diff := cmp.Diff(bits(0, 3, 4, inbound), p.FromService[api]); diff != "" {
		t.Errorf("from globex/api (-want +got):\n%s", diff)
	}
	if _, named := p.FromService[other]; named {
		t.Error("globex/other has a class although no entry names it")
	}
	if diff := cmp.Diff(bits(3, 4, inbound), p.FromService[0]); diff != "" {
		t.Errorf("from outside (-want +got):\n%s", diff)
	}
}

func TestCompileRefuses(t *testing.T) {
	doc := decode(t, example)
	if _, err := policy.Compile(doc, policy.IDs{Network: 1, Services: map[string]uint32{"web": 1}}); err == nil ||
		!strings.Contains(err.Error(), "service db has no id") {
		t.Errorf("a service without an id gives %v", err)
	}
	for range policy.MaxEntries {
		doc.Rules = append(doc.Rules, doc.Rules[0])
	}
	if _, err := policy.Compile(doc, ids(doc)["acme"]); err == nil || !strings.Contains(err.Error(), "4096") {
		t.Errorf("more entries than the datapath takes give %v", err)
	}
}

func TestDigest(t *testing.T) {
	digest := func(text string) string {
		doc := decode(t, text)
		p, err := policy.Compile(doc, ids(doc)["acme"])
		if err != nil {
			t.Fatal(err)
		}
		return p.Digest()
	}
	was := digest(example)
	if again := digest(example); again != was {
		t.Error("the same document gives another digest")
	}
	if digest("# a comment\n"+example) != was {
		t.Error("a comment changes the digest, but the datapath reads no comment")
	}
	for _, change := range []struct{ from, to string }{
		{"tcp/5432]}\n  - deny", "tcp/5433]}\n  - deny"},
		{"log: true", "log: false"},
		{"2001:db8:77::/48", "2001:db8:77::/49"},
		{"8000-8100", "8000-8101"},
		{"from: inside, to: db", "from: any, to: db"},
		{"network: acme", "network: acme\ndefault: {inside: deny}"},
	} {
		if digest(strings.Replace(example, change.from, change.to, 1)) == was {
			t.Errorf("%q for %q leaves the digest as it was", change.to, change.from)
		}
	}
}

// portClass looks a protocol and port up as the datapath does: longest match.
func portClass(p *policy.Program, proto, port uint16) policy.Bits {
	best, class := -1, uint32(0)
	for _, c := range p.Ports {
		length := 16 + c.Bits
		mask := ^uint16(0) << (16 - c.Bits)
		switch {
		case c.AnyProto:
			length = 0
		case c.Proto != proto || c.Port != port&mask:
			continue
		}
		if length > best {
			best, class = length, c.Class
		}
	}
	return p.PortClasses[class]
}

// cidrClass looks an address up as the datapath does: longest match, no entries
// where nothing matches.
func cidrClass(p *policy.Program, address netip.Addr) (from, to policy.Bits) {
	best := -1
	from, to = make(policy.Bits, len(p.Allow)), make(policy.Bits, len(p.Allow))
	for _, c := range p.CIDRs {
		if c.Prefix.Contains(address) && c.Prefix.Bits() > best {
			best, from, to = c.Prefix.Bits(), p.FromCIDR[c.Class], p.ToCIDR[c.Class]
		}
	}
	return from, to
}

func BenchmarkCompile(b *testing.B) {
	for _, size := range []struct{ rules, cidrs int }{{10, 10}, {1000, 1000}, {4000, 100000}} {
		b.Run(fmt.Sprintf("rules=%d/cidrs=%d", size.rules, size.cidrs), func(b *testing.B) {
			doc := decode(b, "{network: acme, nodes: [n1], services: {web: {}, db: {}}}")
			for i := range size.rules {
				r := spec.Rule{
					Action: spec.Deny,
					To:     []spec.Selector{{Kind: spec.SelectService, Name: "web"}},
					Ports:  []spec.Ports{{Proto: spec.ProtoTCP, First: uint16(i), Last: uint16(i + 1000)}},
				}
				for c := i; c < size.cidrs; c += size.rules {
					a := netip.AddrFrom16([16]byte{0x20, 1, 13: byte(c >> 16), 14: byte(c >> 8), 15: byte(c)})
					r.From = append(r.From, spec.Selector{Kind: spec.SelectCIDR, CIDR: netip.PrefixFrom(a, 128-c%7).Masked()})
				}
				doc.Rules = append(doc.Rules, r)
			}
			numbers := ids(doc)["acme"]
			b.ReportAllocs()
			for b.Loop() {
				if _, err := policy.Compile(doc, numbers); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
