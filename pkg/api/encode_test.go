package api

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"
	"google.golang.org/protobuf/proto"
)

// The shapes that scripts rely on (docs: "What scripts rely on"). A change here
// is a change for them.
func TestJSON(t *testing.T) {
	for _, tt := range []struct {
		name    string
		message proto.Message
		want    string
	}{
		{
			"status", &StatusResponse{
				Node: "n1", Networks: []string{"acme", "beta"},
				Uplinks:  []*Uplink{{Name: "eth0", Hook: "xdp", Mode: "native"}},
				Revision: 1 << 40,
			},
			`{"node":"n1","ready":false,"uplinks":[{"name":"eth0","hook":"xdp","mode":"native"}],"networks":["acme","beta"],` +
				`"problems":[],"workloads":0,"revision":1099511627776,"appliedRevision":0,"applied":"","repairs":0,` +
				`"lockdown":"","version":"","started":"","prefixes":[],"ignored":[]}`,
		},
		{
			"network show", &Network{
				Network: "acme", Prefixes: map[string]string{"n2": "2001:db8:b::/64", "n1": "2001:db8:a::/64"},
				Workloads: []*Workload{{Name: "web-1", Service: "web", Node: "n1", Address: "2001:db8:a::100", Interface: "zwweb-1-abcdefg"}},
			},
			`{"network":"acme","prefixes":{"n1":"2001:db8:a::/64","n2":"2001:db8:b::/64"},` +
				`"workloads":[{"name":"web-1","service":"web","node":"n1","address":"2001:db8:a::100","interface":"zwweb-1-abcdefg",` +
				`"network":"","kind":"","namespace":"","mac":"","addresses":[]}],` +
				`"services":[],"rules":[],"gateway":"","bridge":"","id":0,"nodes":[],"file":"","applied":"","drops":[],"ignored":[]}`,
		},
		{
			"trace", &TraceResponse{
				Verdict: Denied, Rule: "acme.yaml:14:5 rules[1] deny from inside to db", Reason: "policy_inside",
				Sides: []*TraceSide{{Network: "acme", Side: "inside", Verdict: Denied, Rule: "…", Entry: "rules[1]", File: "acme.yaml", Line: 14, Column: 5}},
			},
			`{"verdict":"denied","rule":"acme.yaml:14:5 rules[1] deny from inside to db","reason":"policy_inside",` +
				`"sides":[{"network":"acme","side":"inside","verdict":"denied","rule":"…","entry":"rules[1]","file":"acme.yaml","line":14,"column":5}],` +
				`"protocol":""}`,
		},
		{
			"monitor", &Event{
				Time: "2026-01-02T03:04:05.000000006Z", Reason: "lockdown", Src: "198.51.100.2", Dst: "192.0.2.10",
				Proto: "tcp", Sport: 40000, Dport: 22, Interface: "eth0", Kind: "drop",
			},
			`{"time":"2026-01-02T03:04:05.000000006Z","reason":"lockdown","network":"","src":"198.51.100.2","dst":"192.0.2.10",` +
				`"proto":"tcp","sport":40000,"dport":22,"interface":"eth0","kind":"drop","hook":"","verdict":"","rule":"","workload":"",` +
				`"length":0,"mac":"","etherType":"","lost":0}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := JSON(tt.message)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, string(got)); d != "" {
				t.Error(d)
			}
			var value any
			if err := json.Unmarshal(got, &value); err != nil {
				t.Errorf("no JSON: %v", err)
			}
		})
	}
}

// YAML says the same as JSON, also where a text looks like something else.
func TestYAML(t *testing.T) {
	m := &Network{Network: "on", File: "1e3", Applied: "null", Nodes: []string{"true", "n1", ""}, Id: 7, Traffic: &Traffic{SentBytes: 1 << 63}}
	document, err := YAML(m)
	if err != nil {
		t.Fatal(err)
	}
	line, err := JSON(m)
	if err != nil {
		t.Fatal(err)
	}
	var fromYAML, fromJSON any
	if err := yaml.Unmarshal(document, &fromYAML); err != nil {
		t.Fatalf("%v\n%s", err, document)
	}
	if err := yaml.Unmarshal(line, &fromJSON); err != nil { // YAML 1.2 holds JSON
		t.Fatal(err)
	}
	if d := cmp.Diff(fromJSON, fromYAML); d != "" {
		t.Errorf("%s\n%s", d, document)
	}
}

func TestJSONEscapes(t *testing.T) {
	got, err := JSON(&Event{Rule: "a\"b\\c\n\x1b<é>"})
	if err != nil {
		t.Fatal(err)
	}
	var back struct{ Rule string }
	if err := json.Unmarshal(got, &back); err != nil || back.Rule != "a\"b\\c\n\x1b<é>" {
		t.Errorf("%q, %v from %s", back.Rule, err, got)
	}
}
