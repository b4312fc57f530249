package plan

import (
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zosnet/zosnet/pkg/spec"
)

// TestWorkload says what each kind of workload gets.
func TestWorkload(t *testing.T) {
	s := mustCompute(t, twoNetworks(t))
	for _, row := range []struct {
		network, name, netns, link, address string
	}{
		{"acme", "web-1", "/run/netns/acme.web-1", "zwweb-1-", "2001:db8:aaaa:1::100"},
		{"acme", "db-1", "/run/netns/db", "zwdb-1-", "2001:db8:aaaa:1::101"},
		{"globex", "batch-1", "/run/netns/globex.batch-1", "zwbatch-", "2001:db8:aaaa:2::100"},
		{"globex", "vm-1", "", "tap0", "invalid IP"},
	} {
		w := s.workload(t, row.network, row.name)
		if w.NetnsPath != row.netns || !strings.HasPrefix(w.Interface, row.link) || w.Address.String() != row.address {
			t.Errorf("workload %s/%s is at %q on %q with %s, want %q on %q… with %s", row.network, row.name,
				w.NetnsPath, w.Interface, w.Address, row.netns, row.link, row.address)
		}
		if w.Bridge != s.network(t, row.network).Bridge || w.Gateway != netip.MustParseAddr("fe80::1") || w.MTU != 1500 {
			t.Errorf("workload %s/%s: bridge %s, gateway %s, MTU %d", row.network, row.name, w.Bridge, w.Gateway, w.MTU)
		}
	}
	if list := attached(s); len(list) != 4 || len(s.Networks) != 2 {
		t.Errorf("%d workloads of %d networks, want 4 of 2: elsewhere does not span this node", len(list), len(s.Networks))
	}
}

// TestAdvertiseRA says that only a network with a VM sends router advertisements.
func TestAdvertiseRA(t *testing.T) {
	s := mustCompute(t, twoNetworks(t))
	if s.network(t, "acme").AdvertiseRA || !s.network(t, "globex").AdvertiseRA {
		t.Error("router advertisements belong in globex, which has a tap, and not in acme, which has none")
	}
}

func TestMTU(t *testing.T) {
	for _, row := range []struct{ uplink, want uint16 }{
		{0, 1500}, {1500, 1500}, {9000, 9000}, {1420, 1420}, {1280, 1280}, {576, 1280},
	} {
		in := twoNetworks(t)
		in.MTU = row.uplink
		s := mustCompute(t, in)
		if n, w := s.network(t, "acme").MTU, s.workload(t, "acme", "web-1").MTU; n != row.want || w != row.want {
			t.Errorf("uplink MTU %d: network %d, workload %d, want %d", row.uplink, n, w, row.want)
		}
	}
}

// TestFlowSets says how the room for flows is shared: equally, as a power of two, up
// to 8192 sets a share, and never more than there is. Less than 64 draw a warning.
func TestFlowSets(t *testing.T) {
	for _, row := range []struct {
		networks, want uint32
		warns          bool
	}{
		{1, 8192, false}, {5, 8192, false}, {6, 4096, false}, {11, 2048, false}, {100, 256, false},
		{682, 64, false}, {683, 32, true}, {1366, 16, true}, {4095, 8, true},
	} {
		got := flowSets(room, shares, row.networks)
		if got != row.want {
			t.Errorf("%d networks: %d sets a share, want %d", row.networks, got, row.want)
		}
		if got*row.networks*shares > room {
			t.Errorf("%d networks of %d sets a share do not fit into %d sets", row.networks, got, room)
		}
		s := State{Networks: make([]Network, row.networks)}
		s.Networks[0].FlowSets = got
		if warnings := s.Warnings(); (len(warnings) > 0) != row.warns {
			t.Errorf("%d networks: warnings %q", row.networks, warnings)
		}
	}
	if warnings := (State{}).Warnings(); len(warnings) > 0 {
		t.Errorf("no networks: warnings %q", warnings)
	}
}

func TestLockdown(t *testing.T) {
	trial := []spec.LockdownAllow{{From: netip.MustParsePrefix("198.51.100.0/24"), Ports: []spec.Ports{{Any: true}}}}
	from := func(allow []spec.LockdownAllow) string { return allow[0].From.String() }
	in := twoNetworks(t)
	if s := mustCompute(t, in); from(s.Lockdown) != "203.0.113.0/24" || s.Trial != nil {
		t.Errorf("no trial: lockdown %v, trial %v", s.Lockdown, s.Trial)
	}
	in.Trial = &Trial{Allow: trial, Deadline: time.Unix(1, 0)}
	if s := mustCompute(t, in); from(s.Lockdown) != "203.0.113.0/24" || s.Trial == nil {
		t.Errorf("trial pending: lockdown %v, trial %v", s.Lockdown, s.Trial)
	}
	in.Trial = &Trial{Allow: trial}
	if s := mustCompute(t, in); from(s.Lockdown) != "198.51.100.0/24" || s.Trial != nil {
		t.Errorf("trial confirmed: lockdown %v, trial %v", s.Lockdown, s.Trial)
	}
}

func TestPrefixes(t *testing.T) {
	for _, row := range []struct {
		name     string
		prefixes []string
		network  string // the /64 of a network; empty: there is none
		want     []string
	}{
		{"a block", []string{"2001:db8:0:100::/56"}, "",
			[]string{"2001:db8:0:100::/56", "2001:db8:0:100::/64 node"}},
		{"four blocks", []string{"2001:db8:0:400::/54"}, "",
			[]string{"2001:db8:0:400::/54", "2001:db8:0:400::/64 node", "2001:db8:0:500::/64 node",
				"2001:db8:0:600::/64 node", "2001:db8:0:700::/64 node"}},
		{"less than a block", []string{"2001:db8:0:1f0::/60"}, "",
			[]string{"2001:db8:0:1f0::/60", "2001:db8:0:1f0::/64 node"}},
		{"one /64 is the node's own", []string{"2001:db8:0:5::/64"}, "",
			[]string{"2001:db8:0:5::/64 node"}},
		{"sorted", []string{"2001:db8:2::/64", "2001:db8:1::/64"}, "",
			[]string{"2001:db8:1::/64 node", "2001:db8:2::/64 node"}},
		{"a network in a block far up", []string{"2001:db8:0:100::/56"}, "2001:db8:0:133::/64",
			[]string{"2001:db8:0:100::/56", "2001:db8:0:100::/64 node"}},
		{"a network that the prefixes left behind", []string{"2001:db8:0:100::/56"}, "2001:db8:9:9::/64",
			[]string{"2001:db8:0:100::/56", "2001:db8:0:100::/64 node", "2001:db8:9:9::/64"}},
		{"a network in what became the node's own", []string{"2001:db8:0:100::/56"}, "2001:db8:0:100::/64",
			[]string{"2001:db8:0:100::/56", "2001:db8:0:100::/64"}},
		{"the last block of all", []string{"fdff:ffff:ffff:ff00::/56"}, "",
			[]string{"fdff:ffff:ffff:ff00::/56", "fdff:ffff:ffff:ff00::/64 node"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			in := Input{Node: decodeNode(t, "node: n1\nprefixes: ['"+strings.Join(row.prefixes, "', '")+"']"),
				FlowSets: room, FlowShares: shares}
			if row.network != "" {
				in.Networks = []Record{{decodeNetwork(t, "network: a\nnodes: [n1]"), 1, netip.MustParsePrefix(row.network), nil, nil}}
			}
			if d := cmp.Diff(row.want, prefixTexts(mustCompute(t, in).Prefixes)); d != "" {
				t.Error(d)
			}
		})
	}
}

func prefixTexts(prefixes []Prefix) (texts []string) {
	for _, p := range prefixes {
		text := p.Prefix.String()
		if p.Node {
			text += " node"
		}
		texts = append(texts, text)
	}
	return texts
}

// TestWidePrefix says that a node's huge prefix costs no huge list: the first 256
// blocks, and those that networks lie in.
func TestWidePrefix(t *testing.T) {
	in := Input{Node: decodeNode(t, "node: n1\nprefixes: ['2001::/16']"), FlowSets: room, FlowShares: shares,
		Networks: []Record{{decodeNetwork(t, "network: a\nnodes: [n1]"), 1, netip.MustParsePrefix("2001:db8:0:133::/64"), nil, nil}}}
	got := mustCompute(t, in).Prefixes
	own := Prefix{netip.MustParsePrefix("2001:db8:0:100::/64"), true}
	if len(got) != 1+256+1 || !slices.Contains(got, own) {
		t.Errorf("%d prefixes, want 258 with %s among them", len(got), own.Prefix)
	}
}

// TestDependencies holds the package to what it must not know.
func TestDependencies(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, forbidden := range []string{"go.etcd.io/", "vishvananda/netlink", "cilium/ebpf", "pkg/registry", "pkg/maps", "pkg/apply"} {
		if strings.Contains(string(out), forbidden) {
			t.Errorf("plan depends on %s", forbidden)
		}
	}
}

// TestRefused says which input does not fit together, and that the error names
// both sides.
func TestRefused(t *testing.T) {
	for _, row := range []struct {
		name string
		edit func(*Input)
		want []string
	}{
		{"two networks of one id", func(in *Input) { in.Networks[1].ID = 1 },
			[]string{"id 1 is that of network acme and network globex"}},
		{"two networks of one prefix", func(in *Input) { in.Networks[1].Prefix = in.Networks[0].Prefix },
			[]string{"prefix 2001:db8:aaaa:1::/64 is that of network acme and network globex"}},
		{"two services of one id", func(in *Input) { in.Networks[1].Services["batch"] = 2 },
			[]string{"id 2 is that of service acme/db and service globex/batch"}},
		{"two networks of one name", func(in *Input) { in.Networks[1].Document = in.Networks[0].Document },
			[]string{"network acme is described by"}},
		{"a network id that does not exist", func(in *Input) { in.Networks[0].ID = 4096 },
			[]string{"network acme has the id 4096"}},
		{"a prefix of another length", func(in *Input) { in.Networks[0].Prefix = netip.MustParsePrefix("2001:db8::/56") },
			[]string{"network acme has the prefix 2001:db8::/56"}},
		{"two workloads of one host number", func(in *Input) { in.Attachments[1].Host = 0x100 },
			[]string{"host number 256 in network acme is that of workload db-1 and workload web-1"}},
		{"two workloads of one name", func(in *Input) { in.Attachments[1].Name = "web-1" },
			[]string{"workload acme/web-1 is host 256 of service web and host 257 of service db"}},
		{"a workload of no network", func(in *Input) { in.Attachments[0].Network = "nowhere" },
			[]string{"workload nowhere/web-1: there is no such network"}},
		{"a workload of no service", func(in *Input) { in.Attachments[0].Service = "mail" },
			[]string{"workload acme/web-1: its network has no service mail"}},
		{"a workload of no kind", func(in *Input) { in.Attachments[0].Kind = "vlan" },
			[]string{`workload acme/web-1: its kind "vlan"`}},
		{"no room for flows", func(in *Input) { in.FlowSets = 0 }, []string{"the room for flows is not given"}},
		{"everything at once", func(in *Input) { in.Networks[1].ID, in.Networks[1].Services["batch"] = 1, 2 },
			[]string{"network acme and network globex", "service acme/db and service globex/batch"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			in := twoNetworks(t)
			row.edit(&in)
			_, err := Compute(in)
			for _, want := range row.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want one with %q", err, want)
				}
			}
		})
	}
}

// TestNamedServices says that a rule about another network's service is about the
// service that the registry knows, whether or not its network spans the node.
func TestNamedServices(t *testing.T) {
	s := mustCompute(t, twoNetworks(t))
	if _, named := s.network(t, "acme").Policy.FromService[3]; !named {
		t.Error("acme's rules name globex/batch, service 3, but its policy does not")
	}
	in := twoNetworks(t)
	in.Networks = slices.Delete(in.Networks, 1, 2)
	in.Attachments, in.Learned = in.Attachments[:2], nil
	if _, named := mustCompute(t, in).network(t, "acme").Policy.FromService[3]; named {
		t.Error("there is no network globex, but acme's policy names its service 3")
	}
}

func ExampleChange_String() {
	fmt.Println(Change{Object: "network acme rules[1]", Action: Remove, Detail: "deny from inside to db log"})
	// Output: remove network acme rules[1]: deny from inside to db log
}
