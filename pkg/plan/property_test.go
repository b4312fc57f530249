package plan

import (
	"fmt"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"github.com/zosnet/zosnet/pkg/ipam"
)

// TestOrderDoesNotMatter says that permuted input gives an equal state, and the
// same input twice too.
func TestOrderDoesNotMatter(t *testing.T) {
	node := decodeNode(t, nodeYAML)
	rapid.Check(t, func(r *rapid.T) {
		in := Input{Node: node, FlowSets: room, FlowShares: shares}
		service := uint32(0)
		for n := range rapid.IntRange(0, 6).Draw(r, "networks") {
			name := fmt.Sprintf("net%d", n)
			document := fmt.Sprintf("network: %s\nnodes: [n%d]\nservices: {a: {}, b: {}}\n"+
				"rules: [{allow: {from: net%d/a, to: b}}, {deny: {from: '2001:db8::/32', to: a}}]",
				name, rapid.IntRange(1, 2).Draw(r, "node"), n+1)
			rec := Record{
				Document: decodeNetwork(t, document),
				ID:       uint32(n + 1),
				Prefix:   netip.MustParsePrefix(fmt.Sprintf("2001:db8:aaaa:%x::/64", n+1)),
				Services: map[string]uint32{"a": service + 1, "b": service + 2},
			}
			service += 2
			in.Networks = append(in.Networks, rec)
			for w := range rapid.IntRange(0, 5).Draw(r, "workloads") {
				a := Attachment{Network: name, Service: rapid.SampledFrom([]string{"a", "b"}).Draw(r, "service"),
					Name: fmt.Sprintf("w%d", w), Host: ipam.FirstHost + uint32(w),
					Kind:      rapid.SampledFrom([]WorkloadKind{WorkloadNetns, WorkloadPath, WorkloadTap}).Draw(r, "kind"),
					NetnsPath: "/run/netns/x", TapName: fmt.Sprintf("tap%d-%d", n, w)}
				in.Attachments = append(in.Attachments, a)
				for range rapid.IntRange(0, 3).Draw(r, "learned") {
					in.Learned = append(in.Learned, Learned{name, a.Name,
						ipam.Address(rec.Prefix, rapid.Uint32Range(0, 8).Draw(r, "address")), [6]byte{2, 0, 0, 0, byte(n), byte(w)}})
				}
			}
		}
		permuted := in
		permuted.Networks = rapid.Permutation(in.Networks).Draw(r, "networks permuted")
		permuted.Attachments = rapid.Permutation(in.Attachments).Draw(r, "attachments permuted")
		permuted.Learned = rapid.Permutation(in.Learned).Draw(r, "learned permuted")
		want, err := Compute(in)
		if err != nil {
			r.Fatal(err)
		}
		got, err := Compute(permuted)
		if err != nil {
			r.Fatal(err)
		}
		if d := diffStates(want, got); d != "" {
			r.Fatalf("the order of the input matters:\n%s", d)
		}
		if changes := Diff(want, got); len(changes) > 0 {
			r.Fatalf("equal states differ: %v", changes)
		}
		seen := map[bindingKey]bool{}
		for _, b := range got.Bindings {
			key := keyOf(b.NetworkID, b.Address)
			if seen[key] {
				r.Fatalf("%s is bound twice", b.Address)
			}
			seen[key] = true
		}
	})
}
