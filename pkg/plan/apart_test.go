package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/zosnet/zosnet/pkg/spec"
)

// twoSpanning is spanning with acme on n2 and n4 as well: n4 is in acme alone.
func twoSpanning(t testing.TB) Input {
	in := spanning(t)
	in.Networks[0].Document = decodeNetwork(t, strings.Replace(acmeYAML, "[n1]", "[n1, n2, n4]", 1))
	in.Nodes = append(in.Nodes, Node{Name: "n4", Endpoint: netip.MustParseAddr("192.0.2.4"), Blocks: []netip.Prefix{netip.MustParsePrefix("2001:db8:dddd::/56")}})
	in.Parts = append(in.Parts,
		Part{Network: "acme", Node: "n1", Prefix: netip.MustParsePrefix("2001:db8:aaaa:1::/64"), PublicKey: [32]byte{11}, Port: 51011},
		Part{Network: "acme", Node: "n2", Prefix: netip.MustParsePrefix("2001:db8:bbbb:1::/64"), PublicKey: [32]byte{12}, Port: 51012},
		Part{Network: "acme", Node: "n4", Prefix: netip.MustParsePrefix("2001:db8:dddd:1::/64"), PublicKey: [32]byte{14}, Port: 51014})
	in.Remote = append(in.Remote, Remote{"acme", "db", "db-4", "n4", []netip.Addr{netip.MustParseAddr("2001:db8:dddd:1::100")}})
	return in
}

// TestMalice: a node of acme, whose certificate and part are in order, says what would
// reach beyond acme. Nothing of the other network changes, and nothing of this node.
func TestMalice(t *testing.T) {
	globexAtN2 := netip.MustParsePrefix("2001:db8:bbbb:2::/64")
	without := func(in Input) Input { // n4 has no part
		in.Parts = slices.DeleteFunc(in.Parts, func(p Part) bool { return p.Node == "n4" })
		in.Remote = slices.DeleteFunc(in.Remote, func(r Remote) bool { return r.Node == "n4" })
		return in
	}
	// claim has n4 say that a /64 is its part of acme, with a workload at an address.
	claim := func(in *Input, prefix netip.Prefix, address string) {
		in.Parts[len(in.Parts)-1].Prefix = prefix
		in.Remote[len(in.Remote)-1].Addresses = []netip.Addr{netip.MustParseAddr(address)}
	}
	given := func(in *Input, block string) { in.Nodes[2].Blocks = []netip.Prefix{netip.MustParsePrefix(block)} }
	for _, row := range []struct {
		name string
		edit func(*Input)
		want string
	}{
		{"another network's /64, that nobody gave it", func(in *Input) { claim(in, globexAtN2, "2001:db8:bbbb:2::100") },
			"its prefix 2001:db8:bbbb:2::/64 is not in a block that was delegated to it"},
		{"a /64 of this node's blocks", func(in *Input) {
			given(in, "2001:db8:aaaa::/48")
			claim(in, netip.MustParsePrefix("2001:db8:aaaa:9::/64"), "2001:db8:aaaa:9::1")
		}, "its prefix 2001:db8:aaaa:9::/64 is in a block of this node"},
		{"the other network's /64 here, in a block that was taken back", func(in *Input) {
			in.Node.Prefixes = []netip.Prefix{netip.MustParsePrefix("2001:db8:ffff::/56")}
			given(in, "2001:db8:aaaa::/48")
			claim(in, netip.MustParsePrefix("2001:db8:aaaa:2::/64"), "2001:db8:aaaa:2::100")
		}, "its prefix 2001:db8:aaaa:2::/64: network globex has it here"},
		{"the grid's control network", func(in *Input) {
			given(in, "fd00:1:2:300::/56")
			claim(in, netip.MustParsePrefix("fd00:1:2:300::/64"), "fd00:1:2:300::1")
		}, "its prefix fd00:1:2:300::/64: fd00:1:2:300::/64 is not for networks"},
		{"where this node's DNS server is", func(in *Input) {
			given(in, "2001:db8:5353::/56")
			claim(in, netip.MustParsePrefix("2001:db8:5353::/64"), "2001:db8:5353::53")
		}, "its prefix 2001:db8:5353::/64: this node's DNS server 2001:db8:5353::53 is in it"},
	} {
		t.Run(row.name, func(t *testing.T) {
			in, honest := twoSpanning(t), twoSpanning(t)
			for _, i := range []*Input{&in, &honest} {
				i.Reserved = []netip.Prefix{netip.MustParsePrefix("fd00:1:2:300::/64")}
				i.Node.DNS = []netip.Addr{netip.MustParseAddr("2001:db8:5353::53")}
			}
			row.edit(&in)
			honest.Node.Prefixes = in.Node.Prefixes
			s, want := mustCompute(t, in), mustCompute(t, without(honest))
			if i := (Ignored{"network acme on node n4", row.want}); !slices.Contains(s.Ignored, i) {
				t.Errorf("ignored %v, want %v", s.Ignored, i)
			}
			if changes := Diff(want, s); len(changes) > 0 {
				t.Errorf("it changes %v", changes)
			}
		})
	}
}

// TestOnePrefixOfTwoNetworks: where both are said to have it by who may say so, a holder
// that gave a block twice, neither has it: whose it is nobody can tell.
func TestOnePrefixOfTwoNetworks(t *testing.T) {
	in := twoSpanning(t)
	in.Nodes[2].Blocks = in.Nodes[0].Blocks
	in.Parts[len(in.Parts)-1].Prefix = netip.MustParsePrefix("2001:db8:bbbb:2::/64")
	s := mustCompute(t, in)
	for _, want := range []string{"network acme on node n4", "network globex on node n2"} {
		if i := (Ignored{want, "its prefix 2001:db8:bbbb:2::/64: another network is said to have it too"}); !slices.Contains(s.Ignored, i) {
			t.Errorf("ignored %v, want %v", s.Ignored, i)
		}
	}
	s.peer(t, "acme", "n2")
	s.peer(t, "globex", "n3")
	for _, b := range s.Bindings {
		if in.Parts[len(in.Parts)-1].Prefix.Contains(b.Address) {
			t.Errorf("%v is bound to network %d", b.Address, b.NetworkID)
		}
	}
}

// TestManyRemote: a node that says to have more workloads than anybody takes no other
// network's room.
func TestManyRemote(t *testing.T) {
	in := twoSpanning(t)
	at := netip.MustParsePrefix("2001:db8:dddd:1::/64")
	for i := range 3 * mostRemote {
		raw := at.Addr().As16()
		raw[13], raw[14], raw[15] = 1, byte(i>>8), byte(i)
		in.Remote = append(in.Remote, Remote{"acme", "db", fmt.Sprintf("many-%05d", i), "n4", []netip.Addr{netip.AddrFrom16(raw)}})
	}
	s := mustCompute(t, in)
	bound := 0
	for _, b := range s.Bindings {
		if at.Contains(b.Address) {
			bound++
		}
	}
	if bound != mostRemote || len(s.Ignored) != 1 || s.Ignored[0].Object != "network acme on node n4" {
		t.Errorf("%d addresses, ignored %v; want %d", bound, s.Ignored, mostRemote)
	}
	if changes := Diff(mustCompute(t, twoSpanning(t)), s); slices.ContainsFunc(changes, func(c Change) bool { return strings.Contains(c.Object, "globex") }) {
		t.Errorf("it changes another network: %v", changes)
	}
}

// TestNamesThatMeet: two networks of one owner whose overlays get one name only once
// the first changes its key. That network keeps its key, and nobody else's plan fails.
func TestNamesThatMeet(t *testing.T) {
	first, second := namesThatMeet(t)
	in := twoNetworks(t)
	in.Node.Endpoint = netip.MustParseAddr("192.0.2.1")
	in.Nodes = []Node{{Name: "n2", Endpoint: netip.MustParseAddr("192.0.2.2"), Blocks: []netip.Prefix{netip.MustParsePrefix("2001:db8:bbbb::/56")}}}
	for i, name := range []string{first, second} {
		document := decodeNetwork(t, fmt.Sprintf("network: %s\nnodes: [n1, n2]\nservices: {web: {}}\n", name))
		in.Networks = append(in.Networks, Record{Document: document, ID: uint32(10 + i), Prefix: netip.MustParsePrefix(fmt.Sprintf("2001:db8:aaaa:1%d::/64", i)), Services: map[string]uint32{"web": uint32(20 + i)}})
		in.Parts = append(in.Parts,
			Part{Network: name, Node: "n1", Prefix: in.Networks[len(in.Networks)-1].Prefix, PublicKey: [32]byte{byte(1 + i)}, Port: uint16(51001 + i)},
			Part{Network: name, Node: "n2", Prefix: netip.MustParsePrefix(fmt.Sprintf("2001:db8:bbbb:1%d::/64", i)), PublicKey: [32]byte{byte(11 + i)}, Port: 51001})
	}
	before := mustCompute(t, in)
	parts := slices.Clone(in.Parts)
	in.Parts[0].Next = &Successor{Generation: 1, PublicKey: [32]byte{21}, Port: 51009}
	parts[0].Next = &Successor{Generation: 1, PublicKey: [32]byte{21}, Port: 51009}
	s := mustCompute(t, in)
	if changes := Diff(before, s); len(changes) > 0 {
		t.Errorf("it changes %v", changes)
	}
	if len(s.Ignored) != 1 || s.Ignored[0].Object != "network "+first || !strings.Contains(s.Ignored[0].Reason, "its key stays") {
		t.Errorf("ignored %v", s.Ignored)
	}
	if in.Parts[0].Next == nil {
		t.Error("the input was written into")
	}
}

// namesThatMeet looks for two names of networks: the first one's overlay on n1 is called, once
// its key has changed, as the second one's is now. 35 bits of hash are found in a
// moment among 2^20 names.
func namesThatMeet(t testing.TB) (first, second string) {
	t.Helper()
	now := map[string]string{}
	for i := range 1 << 19 {
		name := fmt.Sprintf("meets-%d", i)
		now[overlayIdentity("n1", name, 0).interfaceName(overlayKind, name)] = name
	}
	for i := range 1 << 19 {
		name := fmt.Sprintf("meets-%d", i)
		if other, is := now[overlayIdentity("n1", name, 1).interfaceName(overlayKind, name)]; is && spec.ValidName(name) {
			return name, other
		}
	}
	t.Fatal("no two names meet")
	return "", ""
}
