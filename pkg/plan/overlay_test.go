package plan

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/zosnet/zosnet/pkg/spec"
)

// spanning is twoNetworks with globex on n2 and hidden n3 as well, and an endpoint.
func spanning(t testing.TB) Input {
	in := twoNetworks(t)
	in.Node.Endpoint = netip.MustParseAddr("192.0.2.1")
	in.Networks[1].Document = decodeNetwork(t, strings.Replace(globexYAML, "[n1, n2]", "[n1, n2, n3]", 1))
	in.Nodes = []Node{
		{Name: "n2", Endpoint: netip.MustParseAddr("192.0.2.2"), Blocks: []netip.Prefix{netip.MustParsePrefix("2001:db8:bbbb::/56")}},
		{Name: "n3", Blocks: []netip.Prefix{netip.MustParsePrefix("2001:db8:cccc::/56")}},
	}
	in.Parts = []Part{
		{Network: "globex", Node: "n1", Prefix: netip.MustParsePrefix("2001:db8:aaaa:2::/64"), PublicKey: [32]byte{1}, Port: 51001},
		{Network: "globex", Node: "n2", Prefix: netip.MustParsePrefix("2001:db8:bbbb:2::/64"), PublicKey: [32]byte{2}, Port: 51002},
		{Network: "globex", Node: "n3", Prefix: netip.MustParsePrefix("2001:db8:cccc:2::/64"), PublicKey: [32]byte{3}, Port: 51003},
	}
	in.Remote = []Remote{
		{"globex", "batch", "far-1", "n2", []netip.Addr{netip.MustParseAddr("2001:db8:bbbb:2::100")}},
		{"globex", "vm", "far-2", "n3", []netip.Addr{netip.MustParseAddr("2001:db8:cccc:2::101")}},
	}
	return in
}

func (s State) peer(t testing.TB, network, node string) Peer {
	t.Helper()
	for _, o := range s.Overlays {
		for _, p := range o.Peers {
			if o.Network == network && p.Node == node {
				return p
			}
		}
	}
	t.Fatalf("network %s has no peer %s: %+v, ignored %+v", network, node, s.Overlays, s.Ignored)
	return Peer{}
}

// TestOverlay says what a network that spans nodes gets: an interface, a peer for
// each other node with exactly its /64, and its lockdown's opening.
func TestOverlay(t *testing.T) {
	s := mustCompute(t, spanning(t))
	if len(s.Overlays) != 1 || len(s.Ignored) != 0 {
		t.Fatalf("overlays %+v, ignored %+v: want globex's alone, acme has no part", s.Overlays, s.Ignored)
	}
	o := s.Overlays[0]
	if !strings.HasPrefix(o.Interface, "zoglobe-") || len(o.Interface) > 15 || o.Port != 51001 || o.NetworkID != 2 || o.PublicKey != [32]byte{1} {
		t.Errorf("overlay %+v", o)
	}
	direct := Peer{Node: "n2", PublicKey: [32]byte{2}, Endpoint: netip.MustParseAddrPort("192.0.2.2:51002"), AllowedIPs: []netip.Prefix{netip.MustParsePrefix("2001:db8:bbbb:2::/64")}}
	if d := cmp.Diff(direct, s.peer(t, "globex", "n2"), cmpopts.EquateComparable(netip.AddrPort{}, netip.Prefix{})); d != "" {
		t.Errorf("both nodes can be reached, so none keeps the other awake:\n%s", d)
	}
	if p := s.peer(t, "globex", "n3"); p.Endpoint.IsValid() || p.Keepalive != 25 {
		t.Errorf("peer %+v, want no endpoint and a keepalive: it is hidden", p)
	}
	opened := func(allow []spec.LockdownAllow, from string) bool {
		return slices.ContainsFunc(allow, func(a spec.LockdownAllow) bool {
			return a.From.String() == from && len(a.Ports) == 1 && a.Ports[0].String() == "udp/51001"
		})
	}
	if !opened(s.Lockdown, "::/0") || !opened(s.Lockdown, "0.0.0.0/0") {
		t.Errorf("the lockdown %v does not let WireGuard in", s.Lockdown)
	}
}

// TestOverlayInTrial: a lockdown that is tried does not cut the overlays.
func TestOverlayInTrial(t *testing.T) {
	in := spanning(t)
	in.Trial = &Trial{Deadline: time.Unix(1, 0)}
	s := mustCompute(t, in)
	if len(s.Trial.Allow) != 2 {
		t.Errorf("the trial opens %v, want the overlay's port for both families", s.Trial.Allow)
	}
}

// TestOverlayMTU: 1440 over IPv4, 1420 as soon as IPv6 may carry it or nobody is
// known, and what IPv6 needs at the least.
func TestOverlayMTU(t *testing.T) {
	v4, v6 := netip.MustParseAddrPort("192.0.2.2:1"), netip.MustParseAddrPort("[2001:db8::2]:1")
	for _, row := range []struct {
		name   string
		uplink uint16
		peers  []Peer
		want   uint16
	}{
		{"IPv4", 1500, []Peer{{Endpoint: v4}}, 1440},
		{"IPv6", 1500, []Peer{{Endpoint: v6}}, 1420},
		{"both", 1500, []Peer{{Endpoint: v4}, {Endpoint: v6}}, 1420},
		{"a peer that dials", 1500, []Peer{{Endpoint: v4}, {}}, 1420},
		{"nobody yet", 1500, nil, 1420},
		{"a jumbo uplink: what lies behind it is not known", 9000, []Peer{{Endpoint: v6}}, 1420},
		{"PPPoE", 1492, []Peer{{Endpoint: v6}}, 1412},
		{"narrow", 1300, []Peer{{Endpoint: v6}}, 1280},
	} {
		if got := overlayMTU(row.uplink, row.peers); got != row.want {
			t.Errorf("%s: MTU %d, want %d", row.name, got, row.want)
		}
	}
}

// TestMisfit says what another node may not claim, and that the rest stays.
func TestMisfit(t *testing.T) {
	for _, row := range []struct {
		name string
		edit func(*Input)
		want string
	}{
		{"not in the document", func(in *Input) {
			in.Networks[1].Document = decodeNetwork(t, strings.Replace(globexYAML, "[n1, n2]", "[n1, n3]", 1))
		}, "the network's document does not name that node"},
		{"unknown node", func(in *Input) { in.Nodes = in.Nodes[1:] }, "nothing is known of that node"},
		{"another node's block", func(in *Input) { in.Parts[1].Prefix = netip.MustParsePrefix("2001:db8:cccc:9::/64") },
			"its prefix 2001:db8:cccc:9::/64 is not in a block that was delegated to it"},
		{"our block", func(in *Input) {
			in.Parts[1].Prefix = netip.MustParsePrefix("2001:db8:aaaa:9::/64")
			in.Nodes[0].Blocks = []netip.Prefix{netip.MustParsePrefix("2001:db8:aaaa::/48")}
		}, "its prefix 2001:db8:aaaa:9::/64 is in a block of this node"},
		{"what its own network has here, in a block that was taken back from this node", func(in *Input) {
			in.Node.Prefixes = []netip.Prefix{netip.MustParsePrefix("2001:db8:ffff::/56")}
			in.Nodes[0].Blocks = []netip.Prefix{netip.MustParsePrefix("2001:db8:aaaa::/48")}
			in.Parts[1].Prefix = in.Parts[0].Prefix
		}, "its prefix 2001:db8:aaaa:2::/64: network globex has it here"},
		{"what another claims too", func(in *Input) {
			in.Parts = append(in.Parts, Part{Network: "globex", Node: "n4", Prefix: in.Parts[1].Prefix, PublicKey: [32]byte{4}, Port: 51004})
			in.Networks[1].Document.Nodes = append(in.Networks[1].Document.Nodes, "n4")
			in.Nodes = append(in.Nodes, Node{Name: "n4", Endpoint: netip.MustParseAddr("192.0.2.4"), Blocks: in.Nodes[0].Blocks})
		}, "another node claims its prefix 2001:db8:bbbb:2::/64 too"},
		{"more than a /64", func(in *Input) { in.Parts[1].Prefix = netip.MustParsePrefix("2001:db8:bbbb::/56") },
			"its prefix 2001:db8:bbbb::/56 is no /64"},
		{"no key", func(in *Input) { in.Parts[1].PublicKey = [32]byte{} }, "it has no WireGuard key yet"},
		{"no port", func(in *Input) { in.Parts[1].Port = 0 }, "it has no listen port yet"},
		{"both hidden", func(in *Input) {
			in.Node.Endpoint, in.Nodes[0].Endpoint, in.Nodes[1].Endpoint = netip.Addr{}, netip.Addr{}, netip.MustParseAddr("192.0.2.3")
		}, "both nodes are hidden, and the network's document names no exit where they could meet"},
	} {
		t.Run(row.name, func(t *testing.T) {
			in := spanning(t)
			row.edit(&in)
			s := mustCompute(t, in)
			if want := (Ignored{"network globex on node n2", row.want}); !slices.Contains(s.Ignored, want) {
				t.Errorf("ignored %v, want %v", s.Ignored, want)
			}
			s.peer(t, "globex", "n3")
			for _, b := range s.Bindings {
				if b.Remote && strings.HasPrefix(b.Address.String(), "2001:db8:bbbb") {
					t.Errorf("a workload of n2 is bound: %+v", b)
				}
			}
		})
	}
}

// TestRemoteBindings: workloads on other nodes are known by their addresses in
// their node's /64, behind the overlay, and no address elsewhere.
func TestRemoteBindings(t *testing.T) {
	in := spanning(t)
	in.Remote = append(in.Remote,
		Remote{"globex", "batch", "liar", "n2", []netip.Addr{netip.MustParseAddr("2001:db8:aaaa:2::100"), netip.MustParseAddr("2001:db8:cccc:2::101")}},
		Remote{"globex", "unknown", "new-1", "n2", []netip.Addr{netip.MustParseAddr("2001:db8:bbbb:2::102")}},
		Remote{"acme", "web", "web-9", "n2", []netip.Addr{netip.MustParseAddr("2001:db8:bbbb:2::103")}})
	s := mustCompute(t, in)
	var got []Binding
	for _, b := range s.Bindings {
		if b.Remote {
			got = append(got, b)
		}
	}
	via := s.Overlays[0].Interface
	want := []Binding{
		{Address: netip.MustParseAddr("2001:db8:bbbb:2::100"), NetworkID: 2, ServiceID: 3, Interface: via, Remote: true},
		{Address: netip.MustParseAddr("2001:db8:cccc:2::101"), NetworkID: 2, ServiceID: 4, Interface: via, Remote: true},
	}
	if !slices.Equal(got, want) {
		t.Errorf("remote bindings %+v, want %+v", got, want)
	}
}

// TestDiffOverlay: one peer's change is one line.
func TestDiffOverlay(t *testing.T) {
	from := mustCompute(t, spanning(t))
	in := spanning(t)
	in.Nodes[0].Endpoint = netip.MustParseAddr("192.0.2.22")
	changes := Diff(from, mustCompute(t, in))
	if len(changes) != 1 || changes[0].String() != "change overlay of network globex peer n2: endpoint 192.0.2.2:51002 → 192.0.2.22:51002" {
		t.Errorf("changes %v", changes)
	}
}
