package policy_test

import (
	"net/netip"
	"testing"

	"github.com/zosnet/zosnet/pkg/policy"
	"github.com/zosnet/zosnet/pkg/spec"
)

// A network's resolver is there for the network, whatever its document says, and for
// nobody else, whatever that says.
func TestResolver(t *testing.T) {
	closed := decode(t, "network: acme\nnodes: [n1]\ndefault: {inside: deny, inbound: deny, outbound: deny}\nservices: {web: {}}\naccess: {alice: {publicKey: \""+key+"\"}}\n")
	open := decode(t, "network: acme\nnodes: [n1]\ndefault: {inside: allow, inbound: allow, outbound: allow}\nservices: {web: {}}\naccess: {alice: {publicKey: \""+key+"\"}}\nrules: [{allow: {from: any, to: any}}]\n")
	end := func(network, service, address string) policy.Endpoint {
		return policy.Endpoint{Address: netip.MustParseAddr(address), Network: network, Service: service}
	}
	var (
		web      = end("acme", "web", "2001:db8:0:1::100")
		resolver = end("acme", policy.ResolverService, "2001:db8:0:1::53")
		device   = policy.Endpoint{Address: netip.MustParseAddr("2001:db8:0:1:a11c:e::"), Network: "acme", Access: "alice"}
		server   = end("", "", "2001:db8:77::53")
		other    = end("globex", "api", "2001:db8:0:2::100")
		others   = end("globex", policy.ResolverService, "2001:db8:0:2::53")
	)
	for _, tt := range []struct {
		name     string
		from, to policy.Endpoint
		proto    uint8
		port     uint16
		want     string // what decides; empty: the document
		allow    bool
	}{
		{"a question by UDP", web, resolver, spec.ProtoUDP, 53, "own[0]", true},
		{"a question by TCP", web, resolver, spec.ProtoTCP, 53, "own[0]", true},
		{"a ping", web, resolver, spec.ProtoICMPv6, 128, "own[0]", true},
		{"an access device's question", device, resolver, spec.ProtoUDP, 53, "own[0]", true},
		{"something else of an access device", device, resolver, spec.ProtoTCP, 22, "own[1]", false},
		{"something to an access device", resolver, device, spec.ProtoTCP, 22, "own[3]", false},
		{"another port", web, resolver, spec.ProtoTCP, 22, "own[1]", false},
		{"a question from outside", server, resolver, spec.ProtoUDP, 53, "own[1]", false},
		{"a question from another network", other, resolver, spec.ProtoUDP, 53, "own[1]", false},
		{"what is forwarded", resolver, server, spec.ProtoUDP, 53, "own[2]", true},
		{"what is forwarded by TCP", resolver, server, spec.ProtoTCP, 53, "own[2]", true},
		{"anything else to outside", resolver, server, spec.ProtoTCP, 443, "own[3]", false},
		{"something to a workload", resolver, web, spec.ProtoTCP, 53, "own[3]", false},
		{"something between workloads", web, end("acme", "web", "2001:db8:0:1::101"), spec.ProtoUDP, 53, "", false},
		{"another network's resolver", web, others, spec.ProtoUDP, 53, "", false},
	} {
		for _, doc := range []*spec.Network{closed, open} {
			globex := policy.Network{Document: decode(t, "network: globex\nnodes: [n1]\nservices: {api: {}}\ndefault: {inbound: allow}\n"), Resolver: true}
			w := policy.World{Networks: []policy.Network{{Document: doc, Resolver: true}, globex}}
			var ruling policy.Ruling
			for _, r := range w.Judge(tt.from, tt.to, tt.proto, tt.port) {
				if r.Network == "acme" {
					ruling = r
				}
			}
			if tt.want == "" {
				if ruling.Entry.Kind == policy.EntryOwn || ruling.Entry.Allow != (doc == open) {
					t.Errorf("%s: decided by %s", tt.name, ruling.Entry)
				}
			} else if ruling.Entry.Key() != tt.want || ruling.Entry.Allow != tt.allow {
				t.Errorf("%s: decided by %s, want %s", tt.name, ruling.Entry, tt.want)
			}
			p, err := policy.Compile(doc, policy.IDs{Network: 1, Resolver: 9, Services: map[string]uint32{"web": 1}, Access: map[string]uint32{"alice": 3}})
			numbers := map[string]policy.IDs{"acme": {Resolver: 9, Services: map[string]uint32{"web": 1}, Access: map[string]uint32{"alice": 3}}, "globex": {Resolver: 8, Services: map[string]uint32{"api": 2}}}
			if err != nil || decide(&p, numbers, tt.from, tt.to, tt.proto, tt.port) != ruling.Position {
				t.Errorf("%s: compiled, another entry decides: %v", tt.name, err)
			}
		}
	}
	// The other network's own resolver refuses strangers as well.
	w := policy.World{Networks: []policy.Network{{Document: open, Resolver: true}, {Document: decode(t, "network: globex\nnodes: [n1]\nservices: {api: {}}\ndefault: {inbound: allow}\n"), Resolver: true}}}
	rulings := w.Judge(web, others, spec.ProtoUDP, 53)
	if len(rulings) != 2 || !rulings[0].Entry.Allow || rulings[1].Entry.Key() != "own[1]" || rulings[1].Entry.Allow {
		t.Errorf("acme's question to globex's resolver: %v", rulings)
	}
}
