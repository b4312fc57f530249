package spec_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zosnet/zosnet/pkg/spec"
)

func TestDifferences(t *testing.T) {
	const base = "network: acme\nnodes: [n1, n2]\nservices: {web: {ports: tcp/80}, db: {}}\n" +
		"rules:\n  - deny: {from: web, to: db}\n  - allow: {to: web}\nexpose: [{service: web}]\n"
	tests := []struct {
		name     string
		from, to string // what of base is replaced by what
		want     []spec.Difference
	}{
		{"nothing", "", "", nil},
		{"a comment and a line", "rules:", "# why\n\nrules:", nil},
		{"a node comes", "n1, n2", "n2, n1, n3", []spec.Difference{{Part: "node n3", To: "named"}}},
		{"a node goes", "n1, n2", "n2", []spec.Difference{{Part: "node n1", From: "named"}}},
		{"a service's ports", "tcp/80", "[tcp/80, tcp/443]", []spec.Difference{{Part: "service web", From: "tcp/80", To: "tcp/80 tcp/443"}}},
		{"a service without ports", "db: {}", "db: {}, cache: {}", []spec.Difference{{Part: "service cache", To: "no ports"}}},
		{"a default", "services:", "default: {inbound: allow}\nservices:", []spec.Difference{{Part: "default.inbound", From: "deny", To: "allow"}}},
		{"a rule", "- deny: {from: web, to: db}\n", "- deny: {from: web, to: db, log: true}\n", []spec.Difference{
			{Part: "rule", From: "deny: {from: web, to: db}"}, {Part: "rule", To: "deny: {from: web, to: db, log: true}"},
		}},
		{"a rule twice", "  - allow: {to: web}\n", "  - allow: {to: web}\n  - allow: {to: web}\n", []spec.Difference{
			{Part: "rule", To: "allow: {from: any, to: web}"},
		}},
		{"rules in another order", "  - deny: {from: web, to: db}\n  - allow: {to: web}\n", "  - allow: {to: web}\n  - deny: {from: web, to: db}\n", []spec.Difference{
			{Part: "rules", From: "in another order", To: "in another order"},
		}},
		{"an opening goes", "expose: [{service: web}]\n", "", []spec.Difference{{Part: "expose", From: "web its own ports"}}},
	}
	decode := func(t *testing.T, text string) *spec.Network {
		network, _, err := spec.DecodeNetwork("acme.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return network
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.from != "" && strings.Count(base, test.from) != 1 {
				t.Fatalf("%q is there %d times", test.from, strings.Count(base, test.from))
			}
			from, to := decode(t, base), decode(t, strings.Replace(base, test.from, test.to, 1))
			if d := cmp.Diff(test.want, spec.Differences(from, to)); d != "" {
				t.Error(d)
			}
			if back := spec.Differences(to, from); len(back) != len(test.want) {
				t.Errorf("the other way round there are %d, want %d", len(back), len(test.want))
			}
		})
	}
	if all := spec.Differences(nil, decode(t, base)); len(all) != 10 {
		t.Errorf("of a new document %d parts are new: %v", len(all), all)
	}
}
