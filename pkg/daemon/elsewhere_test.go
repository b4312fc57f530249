package daemon

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
	"github.com/zosnet/zosnet/pkg/spec"
	"github.com/zosnet/zosnet/pkg/trust"
	"github.com/zosnet/zosnet/pkg/wireguard"
)

// foreseeable is a network on n1 and n2, each with a workload; n3 is in the grid, n4
// not, and n2 is not live.
func foreseeable(t *testing.T) gridstore.Snapshot {
	t.Helper()
	network := &gridstore.Network{
		Name: "acme", Parts: map[string]*gridstore.Part{}, Attachments: map[string][]gridstore.Attachment{},
	}
	snap := gridstore.Snapshot{Nodes: map[string]*gridstore.Node{}, Networks: map[string]*gridstore.Network{"acme": network}}
	for i, name := range []string{"n1", "n2", "n3"} {
		block := netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0x0d, 0xb8, byte(i)}), 56)
		snap.Nodes[name] = &gridstore.Node{
			Name: name, Identity: &trust.Identity{}, Live: name != "n2",
			Record: &gridstore.Record{Endpoint: netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})},
			Holding: ipam.Holding{
				Holder:        name,
				Registrations: map[netip.Prefix]ipam.Registration{block: {Prefix: block, Holder: name}},
				Blocks:        map[netip.Prefix]ipam.Delegation{block: {Node: name}},
			},
		}
		if name == "n3" {
			continue
		}
		prefix := netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0x0d, 0xb8, byte(i), 0, 0, 1}), 64)
		key := wireguard.PublicKey{byte(i + 1)}
		network.Parts[name] = &gridstore.Part{Prefix: prefix, PublicKey: key.String(), Port: 20480, Block: block, Holder: name}
		network.Attachments[name] = []gridstore.Attachment{{
			Workload: "web-" + name, Service: "web", Kind: "netns", Host: ipam.FirstHost, Address: ipam.Address(prefix, ipam.FirstHost),
		}}
	}
	return snap
}

func TestForesight(t *testing.T) {
	const document = "network: acme\nnodes: [n1, n2]\nservices: {web: {}, db: {}}\nrules:\n  - deny: {from: db, to: web}\n"
	tests := []struct {
		name string
		to   string // empty: the network goes
		want []string
		note string
	}{
		{"nothing", document, nil, "node n2 is not live"},
		{"a rule", document + "  - allow: {to: web}\n", []string{
			"n1 add network acme rules[1]", "n2 add network acme rules[1]",
		}, "node n2 is not live"},
		{"a node goes", strings.Replace(document, "n1, n2", "n2", 1), []string{
			"n1 remove network acme", "n1 remove workload acme/web-n1", "n1 remove overlay of network acme",
			"n2 change overlay of network acme", "n2 remove overlay of network acme peer n1",
		}, ""},
		{"a node comes", strings.Replace(document, "n1, n2", "n1, n2, n3", 1), []string{"n3 add network acme"}, "which /64"},
		{"a node that is not there", strings.Replace(document, "n1, n2", "n1, n2, n4", 1), nil, "node n4: there is no such node"},
		{"all of it", "", []string{
			"n1 remove network acme", "n1 remove workload acme/web-n1", "n1 remove overlay of network acme",
			"n2 remove network acme", "n2 remove workload acme/web-n2", "n2 remove overlay of network acme",
		}, ""},
	}
	decode := func(t *testing.T, text string) *spec.Network {
		if text == "" {
			return nil
		}
		network, _, err := spec.DecodeNetwork("acme.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return network
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := foresight{snap: foreseeable(t), from: decode(t, document), to: decode(t, test.to)}
			if err := f.foresee(""); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range f.changes {
				got = append(got, c.Node+" "+c.Action+" "+c.Object)
			}
			if d := cmp.Diff(test.want, got); d != "" {
				t.Error(d)
			}
			if notes := strings.Join(f.notes, "\n"); !strings.Contains(notes, test.note) {
				t.Errorf("it says %q, want %q", notes, test.note)
			}
			for _, c := range f.changes { // what only that node knows is not guessed
				for _, field := range []string{"flow sets", "id ", "mtu"} {
					if strings.Contains(c.Detail, field) {
						t.Errorf("%s: %s", c.Object, c.Detail)
					}
				}
			}
		})
	}
	f := foresight{snap: foreseeable(t), from: decode(t, document)}
	if err := f.foresee("n1"); err != nil || len(f.changes) == 0 || f.changes[0].Node != "n2" {
		t.Errorf("without n1: %v, %v", f.changes, err)
	}
}
