package plan

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zosnet/zosnet/pkg/policy"
)

// TestResolvers: a network with workloads here has a resolver, one without has none.
func TestResolvers(t *testing.T) {
	in := twoNetworks(t)
	in.Node.DNS = []netip.Addr{netip.MustParseAddr("2001:db8:53::1")}
	in.Attachments = slices.DeleteFunc(in.Attachments, func(a Attachment) bool { return a.Network == "globex" })
	s := mustCompute(t, in)
	if len(s.Resolvers) != 1 || s.network(t, "globex").Resolver.IsValid() {
		t.Fatalf("resolvers are %v; globex has no workload here", s.Resolvers)
	}
	r, w := s.Resolvers[0], s.workload(t, "acme", policy.ResolverService)
	address := netip.MustParseAddr("2001:db8:aaaa:1::53")
	if r.Network != "acme" || r.Address != address || w.Address != address || s.network(t, "acme").Resolver != address ||
		r.NetnsPath != "/run/netns/acme.53.n1" || w.NetnsPath != r.NetnsPath || !slices.Equal(r.Servers, in.Node.DNS) ||
		!slices.Equal(r.Namespaces, []string{"acme.web-1"}) { // db-1 is in a namespace that somebody else made
		t.Errorf("resolver %+v\nis workload %+v", r, w)
	}
	if !w.IsResolver() || w.ServiceID != 1<<31|w.NetworkID || w.ID != 0x53 {
		t.Errorf("to the datapath it is service %#x, workload %#x", w.ServiceID, w.ID)
	}
	var bound []string
	for _, b := range s.Bindings {
		if b.Workload == w.ID {
			bound = append(bound, b.Address.String())
		}
	}
	if d := cmp.Diff([]string{"2001:db8:aaaa:1::53", w.LinkLocal.String()}, bound); d != "" {
		t.Errorf("its addresses (-want +got):\n%s", d)
	}
	if key := s.network(t, "acme").Policy.Entries[0].Key(); key != "own[0]" {
		t.Errorf("acme's first rule is %s", key)
	}
	before := s
	in.Attachments = nil
	if changes := Diff(before, mustCompute(t, in)); slices.ContainsFunc(changes, func(c Change) bool { return strings.Contains(c.String(), "acme/53") }) {
		t.Errorf("the resolver is listed in %v", changes)
	}
}

// TestNames: what a network's resolver answers, here and of what lies behind its
// overlay.
func TestNames(t *testing.T) {
	for _, row := range []struct {
		name  string
		edit  func(*Input)
		want  []string // lines of globex's zone
		never []string // in none
	}{
		{"this node alone", func(*Input) {},
			[]string{"batch-1.globex.internal. IN AAAA 2001:db8:aaaa:2::100", "batch.globex.internal. IN AAAA 2001:db8:aaaa:2::100",
				"batch.n1.globex.internal. IN AAAA 2001:db8:aaaa:2::100", "53.globex.internal. IN AAAA 2001:db8:aaaa:2::53",
				`vm-1.globex.internal. IN TXT "workload"`},
			[]string{"web", "acme", "fe80:"}},
		{"what a VM took for itself", func(in *Input) {
			in.Learned = []Learned{{"globex", "vm-1", netip.MustParseAddr("2001:db8:aaaa:2::77"), [6]byte{0x52, 0x54, 0, 0, 0, 1}}}
		}, []string{"vm-1.globex.internal. IN AAAA 2001:db8:aaaa:2::77", "vm.n1.globex.internal. IN AAAA 2001:db8:aaaa:2::77"}, nil},
		{"nodes behind an overlay", func(in *Input) {
			*in = spanning(t)
			in.Remote = append(in.Remote,
				Remote{"globex", "batch", "batch-1", "n2", []netip.Addr{netip.MustParseAddr("2001:db8:bbbb:2::103")}}, // the name is taken
				Remote{"globex", "batch", "vm", "n2", []netip.Addr{netip.MustParseAddr("2001:db8:bbbb:2::104")}},      // a service's
				Remote{"globex", "batch", "liar", "n2", []netip.Addr{netip.MustParseAddr("2001:db8:aaaa:2::100")}},    // where n2 is not
				Remote{"globex", "nothing", "web-7", "n2", []netip.Addr{netip.MustParseAddr("2001:db8:bbbb:2::105")}})
		}, []string{"far-1.globex.internal. IN AAAA 2001:db8:bbbb:2::100", "batch.n2.globex.internal. IN AAAA 2001:db8:bbbb:2::100",
			"batch.globex.internal. IN AAAA 2001:db8:bbbb:2::100", "batch.globex.internal. IN AAAA 2001:db8:aaaa:2::100",
			"vm.n3.globex.internal. IN AAAA 2001:db8:cccc:2::101", `liar.globex.internal. IN TXT "workload"`},
			[]string{"::103", "::104", "::105", "liar.globex.internal. IN AAAA", "web-7"}},
		{"a node that is not heard", func(in *Input) {
			*in = spanning(t)
			in.Nodes[0].Silent = true
		}, []string{"far-1.globex.internal. IN AAAA 2001:db8:bbbb:2::100", "batch.globex.internal. IN AAAA 2001:db8:aaaa:2::100", "vm.n3.globex.internal. IN AAAA 2001:db8:cccc:2::101"},
			[]string{"batch.globex.internal. IN AAAA 2001:db8:bbbb:2::100", "batch.n2.globex.internal. IN AAAA"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			in := twoNetworks(t)
			row.edit(&in)
			for _, r := range mustCompute(t, in).Resolvers {
				if r.Network != "globex" {
					continue
				}
				lines := strings.Split(r.Zone, "\n")
				for _, want := range row.want {
					if !slices.Contains(lines, want) {
						t.Errorf("there is no line %q in\n%s", want, r.Zone)
					}
				}
				for _, never := range row.never {
					if strings.Contains(r.Zone, never) {
						t.Errorf("%q is in\n%s", never, r.Zone)
					}
				}
			}
		})
	}
}
