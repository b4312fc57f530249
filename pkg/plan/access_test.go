package plan

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/zosnet/zosnet/pkg/policy"
	"github.com/zosnet/zosnet/pkg/spec"
)

const (
	aliceKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	bobKey   = "gN65BkIKy1eCE9pP1wdc8ROUtkHLF2PfAqYdyYBz6EA="
)

// accessible is spanning, with alice on this node and bob on n2.
func accessible(t testing.TB) Input {
	in := spanning(t)
	r := &in.Networks[1]
	text := strings.Replace(globexYAML, "[n1, n2]", "[n1, n2, n3]", 1) +
		"access:\n  alice: {publicKey: \"" + aliceKey + "\"}\n  bob: {publicKey: \"" + bobKey + "\", at: n2}\n"
	r.Document = decodeNetwork(t, text)
	r.Access = map[string]uint32{"alice": 50, "bob": 51}
	in.Entrances = []EntranceKey{{"globex", [32]byte{9}, 22000}}
	return in
}

func (s State) device(t testing.TB, name string) Device {
	t.Helper()
	for _, d := range s.Devices {
		if d.Name == name {
			return d
		}
	}
	t.Fatalf("no access device %s: %+v, ignored %+v", name, s.Devices, s.Ignored)
	return Device{}
}

// TestAccess: the node where a device ends has an entrance for it, answers for its
// address on the bridge, and opens the port; the others know it behind that node.
func TestAccess(t *testing.T) {
	s := mustCompute(t, accessible(t))
	alice, bob := s.device(t, "alice"), s.device(t, "bob")
	n := s.network(t, "globex")
	want := []Entrance{{"globex", 2, entranceName("n1", "globex"), [32]byte{9}, 22000, 1420}}
	if d := cmp.Diff(want, s.Entrances); d != "" {
		t.Fatalf("entrances (-want +got):\n%s", d)
	}
	if alice.Node != "n1" || alice.Interface != want[0].Interface || !n.Prefix.Contains(alice.Address) {
		t.Errorf("alice is %+v, want her in %s on %s", alice, n.Prefix, want[0].Interface)
	}
	if bob.Node != "n2" || bob.Interface != s.Overlays[0].Interface || !netip.MustParsePrefix("2001:db8:bbbb:2::/64").Contains(bob.Address) {
		t.Errorf("bob is %+v, want him behind n2", bob)
	}
	if d := cmp.Diff([]netip.Addr{alice.Address}, n.Proxied, cmpopts.EquateComparable(netip.Addr{})); d != "" {
		t.Errorf("proxied (-want +got):\n%s", d)
	}
	for _, d := range []Device{alice, bob} {
		binding := Binding{Address: d.Address, NetworkID: 2, ServiceID: d.ID, Interface: d.Interface, Remote: true, Device: true}
		if !slices.Contains(s.Bindings, binding) {
			t.Errorf("no binding %+v among %+v", binding, s.Bindings)
		}
	}
	opened := func(a spec.LockdownAllow) bool { return len(a.Ports) == 1 && a.Ports[0].String() == "udp/22000" }
	if !slices.ContainsFunc(s.Lockdown, opened) {
		t.Errorf("the lockdown %v does not let her in", s.Lockdown)
	}
	if names := []string{"alice", "bob"}; !slices.ContainsFunc(n.Policy.Entries, func(e policy.Entry) bool { return e.Kind == policy.EntryRefusal }) {
		t.Errorf("no entry refuses %v what nothing allows", names)
	}
}

// TestAccessEnd: the node that the document names, else the exit, else the first that
// can be reached.
func TestAccessEnd(t *testing.T) {
	const text = "network: a\nnodes: [n1, n2, n3]\naccess: {alice: {publicKey: \"" + aliceKey + "\"AT}}\n"
	for _, row := range []struct {
		name, at, exit string
		reachable      []string
		want, says     string
	}{
		{"the first", "", "", []string{"n1", "n2"}, "n1", ""},
		{"the first that can be reached", "", "", []string{"n3", "n2"}, "n2", ""},
		{"the exit", "", "n3", []string{"n1", "n3"}, "n3", ""},
		{"a hidden exit", "", "n3", []string{"n2"}, "n2", ""},
		{"an exit beside its nodes", "", "gw1", []string{"n2", "gw1"}, "gw1", ""},
		{"the one that is named", ", at: n3", "n2", []string{"n1", "n2", "n3"}, "n3", ""},
		{"a hidden one that is named", ", at: n3", "", []string{"n1"}, "", "n3"},
		{"none", "", "", nil, "", "no node"},
	} {
		doc := decodeNetwork(t, strings.Replace(text, "AT", row.at, 1))
		doc.Exit = row.exit
		got, reason := AccessEnd(doc, doc.Access[0], func(n string) bool { return slices.Contains(row.reachable, n) })
		if got != row.want || !strings.Contains(reason, row.says) || (reason == "") != (got != "") {
			t.Errorf("%s: %q, %q; want %q, %q", row.name, got, reason, row.want, row.says)
		}
	}
}

// TestAccessAddress: it follows from network and key, and can be no workload's.
func TestAccessAddress(t *testing.T) {
	prefix := netip.MustParsePrefix("2001:db8:1:2::/64")
	a := AccessAddress(prefix, "acme", [32]byte{1})
	if a != AccessAddress(prefix, "acme", [32]byte{1}) || a == AccessAddress(prefix, "acme", [32]byte{2}) || a == AccessAddress(prefix, "globex", [32]byte{1}) {
		t.Errorf("%s does not follow from network and key", a)
	}
	if raw := a.As16(); !prefix.Contains(a) || raw[8]&0x80 == 0 {
		t.Errorf("%s could be a workload's", a)
	}
}

// TestAccessIgnored says what keeps a device out, and nothing else.
func TestAccessIgnored(t *testing.T) {
	alice := mustCompute(t, accessible(t)).device(t, "alice")
	bob := mustCompute(t, accessible(t)).device(t, "bob")
	for _, row := range []struct {
		name, device string
		edit         func(*Input)
		want         string
	}{
		{"no endpoint anywhere", "alice", func(in *Input) { in.Node.Endpoint, in.Nodes[0].Endpoint = netip.Addr{}, netip.Addr{} }, "no node of the network has an endpoint"},
		{"no key for an entrance", "alice", func(in *Input) { in.Entrances = nil }, "no part of the network yet"},
		{"a node without a part", "bob", func(in *Input) { in.Parts = in.Parts[:1] }, "no part of the network yet"},
		{"a VM has her address", "alice", func(in *Input) {
			in.Learned = append(in.Learned, Learned{Network: "globex", Workload: "vm-1", Address: alice.Address})
		}, "vm-1"},
		{"a workload elsewhere has his address", "bob", func(in *Input) { in.Remote[0].Addresses = []netip.Addr{bob.Address} }, "far-1"},
		{"a key that is nobody's", "alice", func(in *Input) { in.Networks[1].Document.Access[0].PublicKey = strings.Repeat("A", 43) }, "none that a device can have"},
		{"this node's own key", "alice", func(in *Input) { in.Entrances[0].PublicKey = alice.PublicKey }, "this node's"},
	} {
		in := accessible(t)
		row.edit(&in)
		s := mustCompute(t, in)
		said := slices.ContainsFunc(s.Ignored, func(i Ignored) bool {
			return i.Object == "access device globex/"+row.device && strings.Contains(i.Reason, row.want)
		})
		if !said || slices.ContainsFunc(s.Devices, func(d Device) bool { return d.Name == row.device }) {
			t.Errorf("%s: devices %+v, ignored %+v; want %q", row.name, s.Devices, s.Ignored, row.want)
		}
	}
}

// TestAccessOfOthers: who says that he has a device's address, and could not have it,
// keeps nobody out.
func TestAccessOfOthers(t *testing.T) {
	want := mustCompute(t, accessible(t)).device(t, "alice")
	in := accessible(t)
	in.Learned = append(in.Learned, Learned{Network: "acme", Workload: "db-1", Address: want.Address})
	for i := range in.Remote {
		in.Remote[i].Addresses = append(in.Remote[i].Addresses, want.Address)
	}
	if got := mustCompute(t, in).device(t, "alice"); got != want {
		t.Errorf("alice is %+v, want %+v", got, want)
	}
}

// TestAccessAlone: a node in no grid has an entrance, and a resolver behind it, where a
// network has access and no workload.
func TestAccessAlone(t *testing.T) {
	in := accessible(t)
	in.Nodes, in.Parts, in.Remote, in.Attachments, in.Learned = nil, nil, nil, nil, nil
	s := mustCompute(t, in)
	if len(s.Overlays) != 0 || len(s.Entrances) != 1 || s.device(t, "alice").Node != "n1" || !s.network(t, "globex").Resolver.IsValid() {
		t.Errorf("overlays %+v, entrances %+v, ignored %+v", s.Overlays, s.Entrances, s.Ignored)
	}
	without := accessible(t)
	without.Networks[1].Document.Access = nil
	if changes := Diff(mustCompute(t, without), mustCompute(t, accessible(t))); !slices.ContainsFunc(changes, func(c Change) bool {
		return c.Action == Add && c.Object == "access device globex/alice"
	}) {
		t.Errorf("a device that comes is not among the changes %v", changes)
	}
}
