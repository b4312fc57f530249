package policy_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zosnet/zosnet/pkg/maps"
	"github.com/zosnet/zosnet/pkg/policy"
	"github.com/zosnet/zosnet/pkg/spec"
)

// The shape that scripts rely on.
func TestTraceJSON(t *testing.T) {
	w := node(t, "", `rules:
  - deny: {from: acme/web, to: api, ports: [tcp/8080]}
expose:
  - {service: api}
`)
	trace, err := w.Trace(policy.Query{From: "acme/web-1", To: "globex/api", Proto: spec.ProtoTCP, Port: 8080})
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(trace, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want := `{
  "from": {
    "address": "2001:db8:100:1::a1",
    "network": "acme",
    "service": "web",
    "workload": "web-1"
  },
  "to": {
    "address": "2001:db8:100:2::b1",
    "network": "globex",
    "service": "api",
    "workload": "api-1"
  },
  "protocol": "tcp/8080",
  "verdict": "denied",
  "rule": "globex.yaml:5:5 rules[0] deny from acme/web to api ports tcp/8080",
  "reason": "policy_inbound",
  "sides": [
    {
      "network": "acme",
      "side": "outbound",
      "verdict": "allowed",
      "rule": "acme.yaml:1:1 default.outbound allow",
      "entry": "default.outbound",
      "file": "acme.yaml",
      "line": 1,
      "column": 1
    },
    {
      "network": "globex",
      "side": "inbound",
      "verdict": "denied",
      "rule": "globex.yaml:5:5 rules[0] deny from acme/web to api ports tcp/8080",
      "entry": "rules[0]",
      "file": "globex.yaml",
      "line": 5,
      "column": 5
    }
  ]
}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("trace (-want +got):\n%s", diff)
	}
	if trace.Allowed() {
		t.Error("Allowed() is true for a denied trace")
	}
}

func TestTraceNames(t *testing.T) {
	w := node(t, "rules: [{deny: {from: web, to: db}}]", "")
	for _, c := range []struct{ from, to, want string }{
		{"acme/web-1", "acme/db-1", "denied policy_inside inside:rules[0]"},
		{"acme/web", "acme/db", "denied policy_inside inside:rules[0]"},
		{"2001:db8:100:1::a1", "acme/db", "denied policy_inside inside:rules[0]"},
		{"2001:db8:100:1::d1", "2001:db8:100:1::a1", "allowed inside:default.inside"},
		{"2001:db8:100:1::99", "acme/db", "denied unknown_identity"},
	} {
		trace, err := w.Trace(policy.Query{From: c.from, To: c.to, Proto: spec.ProtoTCP, Port: 1})
		if err != nil || summary(trace) != c.want {
			t.Errorf("%s to %s: %s, %v; want %s", c.from, c.to, summary(trace), err, c.want)
		}
	}
}

func TestTraceRefuses(t *testing.T) {
	w := node(t, "rules: [{deny: {from: 2001:db8:100:1::a1/128, to: db}}]", "")
	tcp := func(from, to string) policy.Query {
		return policy.Query{From: from, To: to, Proto: spec.ProtoTCP, Port: 80}
	}
	for _, c := range []struct {
		query policy.Query
		want  string
	}{
		{tcp("web-1", "acme/db"), `"web-1" is neither an address nor NETWORK/SERVICE`},
		{tcp("initech/web", "acme/db"), `no network "initech"`},
		{tcp("acme/web", "acme/gone"), `no service, workload or access device "gone"`},
		{tcp("203.0.113.5", "acme/web"), "IPv6 only inside"},
		{tcp("fe80::1", "acme/web"), "name the workload"},
		{tcp("2001:db8:77::1", "2001:db8:66::1"), "neither is in a network of this node"},
		{tcp("acme/web", "acme/db"), "acme/web-1 to acme/db-1 is denied by acme.yaml:4:9 rules[0]"},
		{policy.Query{From: "acme/web-1", To: "acme/db", Proto: spec.ProtoICMPv6, Port: 2}, "packet-too-big: rules have no say"},
		{policy.Query{From: "acme/web-1", To: "acme/db", Proto: spec.ProtoICMPv6, Port: 135}, "neighbor-solicitation: rules have no say"},
	} {
		_, err := w.Trace(c.query)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v gives %v, want an error with %q", c.query, err, c.want)
		}
	}
}

// A service whose workloads have no address yet is still a service.
func TestTraceWithoutAddresses(t *testing.T) {
	w := node(t, "rules: [{deny: {from: web, to: db}}]", "")
	w.Ports, w.Bindings = nil, nil
	trace, err := w.Trace(policy.Query{From: "acme/web", To: "acme/db", Proto: spec.ProtoTCP, Port: 1})
	if err != nil || summary(trace) != "denied policy_inside inside:rules[0]" {
		t.Errorf("%s, %v", summary(trace), err)
	}
}

// Every reason that the oracle gives is one of the datapath's, by its name.
func TestReasonsAreTheDatapaths(t *testing.T) {
	known := map[string]bool{}
	for _, r := range maps.DropReasons() {
		known[r.String()] = true
	}
	for _, r := range policy.Reasons() {
		if !known[r.String()] {
			t.Errorf("the datapath has no reason %q", r)
		}
	}
}

func TestDeepLists(t *testing.T) {
	doc := decode(t, example)
	for range 20 {
		doc.Rules[0].From = append(doc.Rules[0].From, spec.Selector{
			Kind: spec.SelectCIDR, CIDR: netip.MustParsePrefix("2001:db8::/32"),
		})
	}
	text := policy.EntriesOf(doc, false)[0].String()
	if !strings.Contains(text, "13 more") || len(text) > 300 {
		t.Errorf("a rule with many selectors reads %q", text)
	}
}
