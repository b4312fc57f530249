package plan

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestDiff says what --dry-run shows, one edit at a time.
func TestDiff(t *testing.T) {
	rules := func(from, to string) func(*testing.T, *Input) {
		return func(t *testing.T, in *Input) {
			edited := strings.Replace(acmeYAML, from, to, 1)
			if edited == acmeYAML {
				t.Fatalf("acme.yaml has no %q", from)
			}
			in.Networks[0].Document = decodeNetwork(t, edited)
		}
	}
	for _, row := range []struct {
		name string
		edit func(*testing.T, *Input)
		want []string // each begins a change
	}{
		{"nothing", func(*testing.T, *Input) {}, nil},
		{"a comment", rules("rules:", "# rules of acme\n\nrules:"), nil},
		{"a rule added", rules("  - deny:", "  - deny: {from: web, to: outside}\n  - deny:"),
			[]string{"add network acme rules[1]: "}},
		{"a rule removed", rules("  - deny:  {from: inside, to: db, log: true}\n", ""),
			[]string{"remove network acme rules[1]: "}},
		{"a rule's ports", rules("to: db, ports: [tcp/5432]}", "to: db, ports: [tcp/5433]}"),
			[]string{"remove network acme rules[0]: ", "add network acme rules[0]: "}},
		{"rules in another order",
			rules("  - deny:  {from: inside, to: db, log: true}\n  - allow: {from: globex/batch, to: web}",
				"  - allow: {from: globex/batch, to: web}\n  - deny:  {from: inside, to: db, log: true}"),
			[]string{"change network acme rules: in another order"}},
		{"another expose", rules("{service: web, ports: [tcp/443]}", "{service: web, ports: [tcp/80]}"),
			[]string{"remove network acme expose[0]: ", "add network acme expose[0]: "}},
		{"a default", rules("services:\n", "default: {inside: deny}\nservices:\n"),
			[]string{"remove network acme default.inside: ", "add network acme default.inside: "}},
		{"another service behind a name", func(_ *testing.T, in *Input) { in.Networks[1].Services["batch"] = 9 },
			[]string{"change network acme rules: the same lines, for other services", "change network globex rules: the same lines"}},
		{"a network removed", func(_ *testing.T, in *Input) {
			in.Networks, in.Attachments, in.Learned = in.Networks[:1], in.Attachments[:2], nil
		}, []string{
			"remove network globex: prefix 2001:db8:aaaa:2::/64, bridge zbglobe-",
			"change network acme rules: the same lines, for other services",
			"remove workload globex/batch-1: service batch, address 2001:db8:aaaa:2::100, at /run/netns/globex.batch-1, ",
			"remove workload globex/vm-1: service vm, address learned, at tap tap0, ",
			"remove address 2001:db8:aaaa:2:5054:ff:fe00:1 on tap0: mac 52:54:00:00:00:01",
			"remove address fe80::5054:ff:fe00:1 on tap0: mac",
		}},
		{"a workload", func(_ *testing.T, in *Input) {
			in.Attachments = append(in.Attachments, Attachment{Network: "acme", Service: "web", Name: "web-2", Kind: WorkloadNetns, Host: 0x102})
		}, []string{"add workload acme/web-2: service web, address 2001:db8:aaaa:1::102, at /run/netns/acme.web-2, "}},
		{"a learned address", func(_ *testing.T, in *Input) {
			in.Learned = append(in.Learned, Learned{"globex", "vm-1", netip.MustParseAddr("2001:db8:aaaa:2::5"), [6]byte{2}})
		}, []string{"add address 2001:db8:aaaa:2::5 on tap0: mac 02:00:00:00:00:00"}},
		{"the MTU", func(_ *testing.T, in *Input) { in.MTU = 1400 }, []string{
			"change network acme: mtu 1500 → 1400", "change network globex: mtu 1500 → 1400",
			"change workload acme/db-1: mtu 1500 → 1400", "change workload acme/web-1: mtu 1500 → 1400",
			"change workload globex/batch-1: mtu 1500 → 1400", "change workload globex/vm-1: mtu 1500 → 1400",
		}},
		{"uplinks and lockdown", func(t *testing.T, in *Input) {
			in.Node = decodeNode(t, "node: n1\nprefixes: ['2001:db8:aaaa::/54']")
		}, []string{
			"change uplinks: eth0, eth1 → (none)",
			"change lockdown: 203.0.113.0/24 to tcp/22 → (none)",
		}},
		{"a lockdown trial", func(_ *testing.T, in *Input) {
			in.Trial = &Trial{Deadline: time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)}
		}, []string{"change lockdown trial: (none) → (none) until 2026-11-22T03:00:00Z"}},
		{"a prefix", func(t *testing.T, in *Input) {
			in.Node = decodeNode(t, strings.Replace(nodeYAML, `"2001:db8:aaaa::/54"`, `"2001:db8:aaaa::/54", "2001:db8:b:1::/64"`, 1))
		}, []string{"add prefix 2001:db8:b:1::/64: for the node itself"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			in := twoNetworks(t)
			before := mustCompute(t, in)
			row.edit(t, &in)
			changes := Diff(before, mustCompute(t, in))
			var got []string
			for i, c := range changes {
				text := c.String()
				if i < len(row.want) && strings.HasPrefix(text, row.want[i]) {
					text = row.want[i]
				}
				got = append(got, text)
			}
			if d := cmp.Diff(row.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestDiffFromNothing says that a first apply adds everything.
func TestDiffFromNothing(t *testing.T) {
	for _, c := range Diff(State{}, mustCompute(t, twoNetworks(t))) {
		if c.Action != Add && c.Object != "uplinks" && c.Object != "lockdown" {
			t.Errorf("%s", c)
		}
	}
}
