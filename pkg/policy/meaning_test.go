package policy_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/zosnet/zosnet/pkg/policy"
	"github.com/zosnet/zosnet/pkg/spec"
)

// node gives a world with the networks acme (web-1, web-2, db-1) and globex
// (api-1) at 2001:db8:100:1::/64 and 2001:db8:100:2::/64.
func node(t testing.TB, acme, globex string) *policy.World {
	t.Helper()
	read := func(file, text string) *spec.Network {
		doc, _, err := spec.DecodeNetwork(file, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return doc
	}
	w := &policy.World{
		Networks: []policy.Network{
			{
				Document: read("acme.yaml", "network: acme\nnodes: [n1]\nservices: {web: {ports: [tcp/80, tcp/443]}, db: {ports: [tcp/5432]}}\n"+acme),
				Prefix:   netip.MustParsePrefix("2001:db8:100:1::/64"), Gateway: netip.MustParseAddr("2001:db8:100:1::1"), MTU: 1500,
			},
			{
				Document: read("globex.yaml", "network: globex\nnodes: [n1]\nservices: {api: {ports: [tcp/8080]}}\n"+globex),
				Prefix:   netip.MustParsePrefix("2001:db8:100:2::/64"), Gateway: netip.MustParseAddr("2001:db8:100:2::1"), MTU: 1400,
			},
		},
		Space:   []netip.Prefix{netip.MustParsePrefix("2001:db8:100::/48")},
		NodeOwn: []netip.Prefix{netip.MustParsePrefix("2001:db8:100::/64")},
		Routes: []policy.Route{
			{Prefix: netip.MustParsePrefix("2000::/3"), Uplink: true, MTU: 1500},
			{Prefix: netip.MustParsePrefix("2001:db8:9::9/128"), Local: true},
			{Prefix: netip.MustParsePrefix("2600::/16")},
		},
	}
	for i, p := range []struct{ network, service, workload, address string }{
		{"acme", "web", "web-1", "2001:db8:100:1::a1"},
		{"acme", "web", "web-2", "2001:db8:100:1::a2"},
		{"acme", "db", "db-1", "2001:db8:100:1::d1"},
		{"globex", "api", "api-1", "2001:db8:100:2::b1"},
	} {
		index := uint32(i + 1)
		mac := [6]byte{2, 0, 0, 0, 0, byte(index)}
		w.Ports = append(w.Ports, policy.Port{
			Interface: index, Network: p.network, Service: p.service, Workload: p.workload, MAC: mac,
		})
		linkLocal := netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 15: byte(index)})
		for _, a := range []netip.Addr{netip.MustParseAddr(p.address), linkLocal} {
			w.Bindings = append(w.Bindings, policy.Binding{
				Address: a, Network: p.network, Service: p.service, Workload: p.workload, Interface: index,
			})
		}
	}
	if document := w.Networks[0].Document; len(document.Access) > 0 {
		w.Overlays = []policy.Overlay{{Interface: entrance, Network: "acme", MTU: 1420, Relay: true, Entrance: true}, {Interface: overlay, Network: "acme", MTU: 1420}}
		ends := []policy.Binding{{Address: netip.MustParseAddr(aliceHere), Interface: entrance}, {Address: netip.MustParseAddr(bobElsewhere), Interface: overlay}}
		for i, device := range document.Access {
			ends[i].Network, ends[i].Access = "acme", device.Name
			w.Bindings = append(w.Bindings, ends[i])
		}
	}
	return w
}

// Where access devices are, the first of a document here and the second on another node.
const (
	entrance, overlay       = 8, 9
	aliceHere, bobElsewhere = "2001:db8:100:1:8000::a", "2001:db8:200:1:8000::b"
)

// Each row is a sentence of what a document means: rules of acme (and globex), a
// flow, its verdict, and the entry that decides.
func TestWhatDocumentsMean(t *testing.T) {
	const stranger, other = "2001:db8:77::1", "2001:db8:66::1"
	for _, c := range []struct {
		means  string
		acme   string
		globex string
		flow   string // FROM TO PORT
		want   string // VERDICT, the reason of a drop, and the entries of all sides
	}{
		{"workloads of one network reach each other by default", "", "", "acme/web-1 acme/db-1 tcp/5432", "allowed inside:default.inside"},
		{"nobody outside reaches a workload by default", "", "", stranger + " acme/web-1 tcp/80", "denied policy_inbound inbound:default.inbound"},
		{"a workload reaches the outside by default", "", "", "acme/web-1 " + stranger + " tcp/80", "allowed outbound:default.outbound"},
		{"each default can be the other way", "default: {inside: deny}", "", "acme/web-1 acme/db-1 tcp/5432", "denied policy_inside inside:default.inside"},
		{"and so for inbound", "default: {inbound: allow}", "", stranger + " acme/web-1 tcp/80", "allowed inbound:default.inbound"},
		{"and for outbound", "default: {outbound: deny}", "", "acme/web-1 " + stranger + " udp/53", "denied policy_outbound outbound:default.outbound"},

		{"the first rule that matches decides", "rules: [{deny: {from: web, to: db}}, {allow: {from: web, to: db}}]", "", "acme/web-1 acme/db-1 tcp/5432", "denied policy_inside inside:rules[0]"},
		{"a rule that does not match is passed over", "rules: [{deny: {from: db, to: web}}, {allow: {from: web, to: db}}]", "", "acme/web-1 acme/db-1 tcp/5432", "allowed inside:rules[1]"},
		{"a service matches its workloads, whichever", "rules: [{deny: {from: web, to: db}}]", "", "acme/web-2 acme/db-1 tcp/1", "denied policy_inside inside:rules[0]"},
		{"a rule speaks about who starts the flow", "rules: [{deny: {from: web, to: db}}]", "", "acme/db-1 acme/web-1 tcp/1", "allowed inside:default.inside"},
		{"within one service too", "rules: [{deny: {from: web, to: web}}]", "", "acme/web-1 acme/web-2 tcp/80", "denied policy_inside inside:rules[0]"},
		{"inside is every workload of the network", "rules: [{deny: {from: inside, to: db}}]", "", "acme/web-1 acme/db-1 tcp/1", "denied policy_inside inside:rules[0]"},
		{"inside is no stranger", "default: {inbound: allow}\nrules: [{deny: {from: inside, to: db}}]", "", stranger + " acme/db-1 tcp/1", "allowed inbound:default.inbound"},
		{"inside is no other network's workload", "default: {inbound: allow}\nrules: [{deny: {from: inside, to: db}}]", "", "globex/api-1 acme/db-1 tcp/1", "allowed outbound:default.outbound inbound:default.inbound"},
		{"outside is a stranger", "rules: [{allow: {from: outside, to: web}}]", "", stranger + " acme/web-1 tcp/80", "allowed inbound:rules[0]"},
		{"outside is another tenant's network too", "rules: [{allow: {from: outside, to: web}}]", "", "globex/api-1 acme/web-1 tcp/80", "allowed outbound:default.outbound inbound:rules[0]"},
		{"outbound rules cover it as well", "", "rules: [{deny: {from: inside, to: outside}}]", "globex/api-1 acme/web-1 tcp/80", "denied policy_outbound outbound:rules[0] inbound:default.inbound"},
		{"outside is nobody inside", "rules: [{deny: {from: outside, to: any}}]", "", "acme/web-1 acme/db-1 tcp/1", "allowed inside:default.inside"},
		{"any is inside", "rules: [{deny: {from: any, to: db}}]", "", "acme/web-1 acme/db-1 tcp/1", "denied policy_inside inside:rules[0]"},
		{"any is outside", "rules: [{allow: {from: any, to: db}}]", "", stranger + " acme/db-1 tcp/1", "allowed inbound:rules[0]"},
		{"leaving from and to out means any", "rules: [{deny: {ports: [tcp/25]}}]", "", "acme/web-1 " + stranger + " tcp/25", "denied policy_outbound outbound:rules[0]"},
		{"a CIDR matches whoever has the address", "rules: [{allow: {from: 2001:db8:77::/48, to: web}}]", "", stranger + " acme/web-1 tcp/80", "allowed inbound:rules[0]"},
		{"and nobody else", "rules: [{allow: {from: 2001:db8:77::/48, to: web}}]", "", other + " acme/web-1 tcp/80", "denied policy_inbound inbound:default.inbound"},
		{"also inside", "rules: [{deny: {from: 2001:db8:100:1::a1/128, to: db}}]", "", "acme/web-1 acme/db-1 tcp/1", "denied policy_inside inside:rules[0]"},
		{"but not the workload beside it", "rules: [{deny: {from: 2001:db8:100:1::a1/128, to: db}}]", "", "acme/web-2 acme/db-1 tcp/1", "allowed inside:default.inside"},
		{"as destination too", "rules: [{deny: {from: web, to: 2001:db8:77::/48}}]", "", "acme/web-1 " + stranger + " tcp/80", "denied policy_outbound outbound:rules[0]"},
		{"an IPv4 CIDR matches no packet here", "default: {inbound: allow}\nrules: [{deny: {from: 0.0.0.0/0, to: web}}]", "", stranger + " acme/web-1 tcp/80", "allowed inbound:default.inbound"},
		{"NETWORK/SERVICE is another network's service", "rules: [{allow: {from: globex/api, to: web}}]", "", "globex/api-1 acme/web-1 tcp/80", "allowed outbound:default.outbound inbound:rules[0]"},
		{"one that does not exist matches nothing", "rules: [{allow: {from: [globex/gone, nowhere/api], to: web}}]", "", "globex/api-1 acme/web-1 tcp/80", "denied policy_inbound outbound:default.outbound inbound:default.inbound"},
		{"NETWORK/SERVICE as destination", "rules: [{deny: {from: web, to: globex/api}}]", "default: {inbound: allow}", "acme/web-1 globex/api-1 tcp/1", "denied policy_outbound outbound:rules[0] inbound:default.inbound"},
		{"a list matches where one of it does", "rules: [{deny: {from: [db, 2001:db8:77::/48], to: [web, globex/api]}}]", "", "acme/db-1 globex/api-1 tcp/1", "denied policy_outbound outbound:rules[0] inbound:default.inbound"},

		{"between networks both must allow: ours does not", "default: {outbound: deny}", "default: {inbound: allow}", "acme/web-1 globex/api-1 tcp/1", "denied policy_outbound outbound:default.outbound inbound:default.inbound"},
		{"theirs does not", "", "", "acme/web-1 globex/api-1 tcp/1", "denied policy_inbound outbound:default.outbound inbound:default.inbound"},
		{"both do", "", "expose: [{service: api}]", "acme/web-1 globex/api-1 tcp/8080", "allowed outbound:default.outbound inbound:expose[0]"},

		{"a rule without ports means every protocol", "rules: [{deny: {from: web, to: db}}]", "", "acme/web-1 acme/db-1 sctp/7", "denied policy_inside inside:rules[0]"},
		{"a port is of its protocol", "rules: [{deny: {from: web, to: db, ports: [tcp/53]}}]", "", "acme/web-1 acme/db-1 udp/53", "allowed inside:default.inside"},
		{"a range begins at its first port", "rules: [{deny: {from: web, to: db, ports: [udp/1000-2000]}}]", "", "acme/web-1 acme/db-1 udp/1000", "denied policy_inside inside:rules[0]"},
		{"and ends at its last", "rules: [{deny: {from: web, to: db, ports: [udp/1000-2000]}}]", "", "acme/web-1 acme/db-1 udp/2000", "denied policy_inside inside:rules[0]"},
		{"and not after it", "rules: [{deny: {from: web, to: db, ports: [udp/1000-2000]}}]", "", "acme/web-1 acme/db-1 udp/2001", "allowed inside:default.inside"},
		{"tcp/any is every TCP port", "rules: [{deny: {from: web, to: db, ports: [tcp/any]}}]", "", "acme/web-1 acme/db-1 tcp/65535", "denied policy_inside inside:rules[0]"},
		{"and no other protocol", "rules: [{deny: {from: web, to: db, ports: [tcp/any]}}]", "", "acme/web-1 acme/db-1 sctp/65535", "allowed inside:default.inside"},
		{"any is every protocol", "rules: [{deny: {from: web, to: db, ports: [tcp/1, any]}}]", "", "acme/web-1 acme/db-1 icmpv6/echo-request", "denied policy_inside inside:rules[0]"},
		{"icmpv6 goes by its type", "rules: [{allow: {from: outside, to: web, ports: [icmpv6/echo-request]}}]", "", stranger + " acme/web-1 icmpv6/128", "allowed inbound:rules[0]"},
		{"and not by another", "rules: [{allow: {from: outside, to: web, ports: [icmpv6/echo-request]}}]", "", stranger + " acme/web-1 icmpv6/139", "denied policy_inbound inbound:default.inbound"},

		{"an expose admits outside to the ports it names", "expose: [{service: web, ports: [tcp/8443]}]", "", stranger + " acme/web-1 tcp/8443", "allowed inbound:expose[0]"},
		{"and to no other", "expose: [{service: web, ports: [tcp/8443]}]", "", stranger + " acme/web-1 tcp/443", "denied policy_inbound inbound:default.inbound"},
		{"without ports it means the service's own", "expose: [{service: web}]", "", stranger + " acme/web-1 tcp/443", "allowed inbound:expose[0]"},
		{"it admits other networks", "expose: [{service: web}]", "", "globex/api-1 acme/web-1 tcp/80", "allowed outbound:default.outbound inbound:expose[0]"},
		{"it admits nobody inside", "default: {inside: deny}\nexpose: [{service: db}]", "", "acme/web-1 acme/db-1 tcp/5432", "denied policy_inside inside:default.inside"},
		{"it admits to no other service", "expose: [{service: web, ports: [tcp/1]}]", "", stranger + " acme/db-1 tcp/1", "denied policy_inbound inbound:default.inbound"},
		{"a deny rule beats an expose", "rules: [{deny: {from: 2001:db8:77::/48, to: web}}]\nexpose: [{service: web}]", "", stranger + " acme/web-1 tcp/80", "denied policy_inbound inbound:rules[0]"},
		{"an allow from outside needs no expose", "rules: [{allow: {from: outside, to: db, ports: [tcp/9]}}]", "", stranger + " acme/db-1 tcp/9", "allowed inbound:rules[0]"},
		{"a service's ports restrict nothing by themselves", "", "", "acme/web-1 acme/db-1 tcp/1", "allowed inside:default.inside"},
		{"an IPv4 exposure admits no packet of the world's", "expose: [{service: web, ipv4: auto, ports: [tcp/443]}]", "", stranger + " acme/web-1 tcp/443", "denied policy_inbound inbound:default.inbound"},

		{"an access device reaches what it is allowed", alice, "", "acme/alice acme/web-1 tcp/443", "allowed inside:access.alice.web"},
		{"under the service's own ports", alice, "", "acme/alice acme/web-1 tcp/22", "denied policy_inside inside:default.access"},
		{"each service under its own", "access: {alice: {publicKey: \"" + key + "\", allow: [web, db]}}\n", "", "acme/alice acme/web-1 tcp/5432", "denied policy_inside inside:default.access"},
		{"or under the ports that access names", "access: {alice: {publicKey: \"" + key + "\", allow: [web], ports: [tcp/22]}}\n", "", "acme/alice acme/web-1 tcp/22", "allowed inside:access.alice.web"},
		{"and in place of the service's", "access: {alice: {publicKey: \"" + key + "\", allow: [web], ports: [tcp/22]}}\n", "", "acme/alice acme/web-1 tcp/443", "denied policy_inside inside:default.access"},
		{"nothing else, whatever inside may", alice, "", "acme/alice acme/db-1 tcp/5432", "denied policy_inside inside:default.access"},
		{"whatever outside may", alice + "default: {inbound: allow}", "", "acme/alice acme/db-1 tcp/5432", "denied policy_inside inside:default.access"},
		{"and no expose", alice + "expose: [{service: db}]", "", "acme/alice acme/db-1 tcp/5432", "denied policy_inside inside:default.access"},
		{"a rule names it", alice + "rules: [{allow: {from: alice, to: db}}]", "", "acme/alice acme/db-1 tcp/1", "allowed inside:rules[0]"},
		{"a deny rule beats what it is allowed", alice + "rules: [{deny: {from: alice, to: web, ports: [tcp/443]}}]", "", "acme/alice acme/web-1 tcp/443", "denied policy_inside inside:rules[0]"},
		{"any is an access device too", alice + "rules: [{allow: {from: any, to: db}}]", "", "acme/alice acme/db-1 tcp/1", "allowed inside:rules[0]"},
		{"inside is none", alice + "rules: [{allow: {from: inside, to: db}}]", "", "acme/alice acme/db-1 tcp/1", "denied policy_inside inside:default.access"},
		{"nor is outside", alice + "rules: [{allow: {from: outside, to: db}}]", "", "acme/alice acme/db-1 tcp/1", "denied policy_inside inside:default.access"},
		{"one device is not another", alice + "rules: [{allow: {from: bob, to: db}}]", "", "acme/alice acme/db-1 tcp/1", "denied policy_inside inside:default.access"},
		{"a workload does not reach it", alice, "", "acme/web-1 acme/alice tcp/22", "denied policy_inside inside:default.access"},
		{"also not where a rule lets it reach all that is inside", alice + "rules: [{allow: {from: web, to: inside}}]", "", "acme/web-1 acme/alice tcp/22", "denied policy_inside inside:default.access"},
		{"but where a rule names it", alice + "rules: [{allow: {from: web, to: alice}}]", "", "acme/web-1 acme/alice tcp/22", "allowed inside:rules[0]"},
		{"nobody outside does", alice + "default: {inbound: allow}", "", stranger + " acme/alice tcp/22", "denied policy_inbound inbound:default.access"},
		{"and it reaches nobody there", alice, "", "acme/alice " + stranger + " tcp/22", "denied policy_outbound outbound:default.access"},
		{"two devices do not reach each other", alice, "", "acme/alice acme/bob tcp/22", "denied policy_inside inside:default.access"},
		{"its network's rules on workloads stay what they are", alice + "rules: [{deny: {from: alice, to: db}}]", "", "acme/web-1 acme/db-1 tcp/1", "allowed inside:default.inside"},

		{"the gateway answers a ping without rules", "rules: [{deny: {}}]", "", "acme/web-1 2001:db8:100:1::1 icmpv6/echo-request", "allowed"},
		{"and nothing else", "", "", "acme/web-1 2001:db8:100:1::1 tcp/22", "denied host"},
		{"an access device's as well", alice, "", "acme/alice 2001:db8:100:1::1 icmpv6/echo-request", "allowed"},
		{"not more of it either", alice, "", "acme/alice 2001:db8:100:1::1 udp/53", "denied host"},
		{"under this one address", alice, "", "acme/alice 2001:db8:100:1:: icmpv6/echo-request", "denied host"},
		{"not one's that ends on another node", alice, "", "acme/bob 2001:db8:100:1::1 icmpv6/echo-request", "denied host"},
		{"another network's gateway is nobody", "", "", "acme/web-1 2001:db8:100:2::1 icmpv6/echo-request", "denied unassigned"},
		{"nor is an address that nobody has", "", "", stranger + " 2001:db8:100:1::99 tcp/80", "denied unassigned"},
		{"the node's own addresses are the host", "", "", "acme/web-1 2001:db8:100::1 tcp/22", "denied host"},
		{"nobody starts with an answer", "", "", "acme/web-1 acme/db-1 icmpv6/echo-reply", "denied icmp_no_query"},
		{"multicast goes nowhere", "", "", "acme/web-1 ff0e::1 udp/5353", "denied multicast"},
	} {
		t.Run(c.means, func(t *testing.T) {
			w := node(t, c.acme, c.globex)
			parts := strings.Fields(c.flow)
			ports, err := spec.ParsePorts(parts[2])
			if err != nil {
				t.Fatal(err)
			}
			trace, err := w.Trace(policy.Query{From: parts[0], To: parts[1], Proto: ports.Proto, Port: ports.First})
			if err != nil {
				t.Fatal(err)
			}
			if got := summary(trace); got != c.want {
				t.Errorf("%s: %s, want %s\n%s\n%s", c.flow, got, c.want, c.acme, c.globex)
			}
		})
	}
}

const alice = "access: {alice: {publicKey: \"" + key + "\", allow: [web]}, bob: {publicKey: \"gN65BkIKy1eCE9pP1wdc8ROUtkHLF2PfAqYdyYBz6EA=\"}}\n"

const key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

func summary(t policy.Trace) string {
	parts := []string{t.Verdict}
	if t.Reason != "" {
		parts = append(parts, t.Reason)
	}
	for _, s := range t.Sides {
		parts = append(parts, s.Side+":"+s.Entry)
	}
	return strings.Join(parts, " ")
}
