package plan

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// meeting is spanning with an exit of globex.
func meeting(t testing.TB, exit string) Input {
	in := spanning(t)
	text := strings.Replace(globexYAML, "[n1, n2]", "[n1, n2, n3]\nexit: "+exit, 1)
	in.Networks[1].Document = decodeNetwork(t, text)
	return in
}

func (p Peer) texts() (list []string) {
	for _, prefix := range p.AllowedIPs {
		list = append(list, prefix.String())
	}
	return list
}

// TestMeetAtTheExit says which node has which /64 at this one, n1: its own, and at
// the exit those of the nodes that cannot be reached directly.
func TestMeetAtTheExit(t *testing.T) {
	const n2, n3 = "2001:db8:bbbb:2::/64", "2001:db8:cccc:2::/64"
	here := func(hidden bool) func(*Input) {
		return func(in *Input) {
			if hidden {
				in.Node.Endpoint = netip.Addr{}
			}
		}
	}
	lost := func(nodes ...byte) func(*Input) {
		return func(in *Input) {
			device := mustCompute(t, *in).Overlays[0].Interface
			for _, key := range nodes {
				in.Sessions = append(in.Sessions, Session{Interface: device, PublicKey: [32]byte{key}, Lost: true})
			}
		}
	}
	unheard := func(established bool) func(*Input) { // n2 does not hear this node
		return func(in *Input) {
			device := mustCompute(t, *in).Overlays[0].Interface
			in.Sessions = append(in.Sessions, Session{Interface: device, PublicKey: [32]byte{2}, Established: established})
			in.Parts[1].Unheard = true
		}
	}
	public3 := func(in *Input) { in.Nodes[1].Endpoint = netip.MustParseAddr("192.0.2.3") }
	for _, row := range []struct {
		name, exit string
		edits      []func(*Input)
		want       map[string][]string // by node; a node that is not in it is no peer
		ignored    string              // why n3 is
	}{
		{"a hidden node to a public one", "n2", nil, map[string][]string{"n2": {n2}, "n3": {n3}}, ""},
		{"two hidden ones", "n2", []func(*Input){here(true)}, map[string][]string{"n2": {n2, n3}}, ""},
		{"this one is the exit", "n1", nil, map[string][]string{"n2": {n2}, "n3": {n3}}, ""},
		{"the exit has a part without being among the nodes", "n2", []func(*Input){here(true), func(in *Input) {
			in.Networks[1].Document.Nodes = []string{"n1", "n3"}
		}}, map[string][]string{"n2": {n2, n3}}, ""},
		{"the exit is hidden, too", "n3", []func(*Input){here(true)}, map[string][]string{"n2": {n2}},
			"both nodes are hidden, and the network's exit n3 is not there, or hidden too"},
		{"a hidden exit", "n1", []func(*Input){here(true)}, map[string][]string{"n2": {n2}},
			"both nodes are hidden, and this one is the network's exit: an exit needs an endpoint"},
		{"nobody knows the exit", "n9", []func(*Input){here(true)}, map[string][]string{"n2": {n2}},
			"both nodes are hidden, and the network's exit n9 is not there, or hidden too"},
		{"one that does not answer", "n2", []func(*Input){lost(3)}, map[string][]string{"n2": {n2, n3}, "n3": nil}, ""},
		{"a public one that does not answer", "n3", []func(*Input){public3, lost(2)}, map[string][]string{"n2": nil, "n3": {n2, n3}}, ""},
		{"a public one that does not hear this node", "n3", []func(*Input){public3, unheard(false)}, map[string][]string{"n2": nil, "n3": {n2, n3}}, ""},
		{"a public one that did not, and has shaken hands", "n3", []func(*Input){public3, unheard(true)}, map[string][]string{"n2": {n2}, "n3": {n3}}, ""},
		{"the exit does not answer", "n2", []func(*Input){lost(2)}, map[string][]string{"n2": {n2}, "n3": {n3}}, ""},
		{"nobody answers", "n2", []func(*Input){lost(2, 3)}, map[string][]string{"n2": {n2}, "n3": {n3}}, ""},
		{"nobody answers two hidden ones", "n2", []func(*Input){here(true), lost(2)}, map[string][]string{"n2": {n2, n3}}, ""},
		{"one does not answer the exit", "n1", []func(*Input){lost(3)}, map[string][]string{"n2": {n2}, "n3": {n3}}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			in := meeting(t, row.exit)
			for _, edit := range row.edits {
				edit(&in)
			}
			s := mustCompute(t, in)
			got := map[string][]string{}
			for _, p := range s.Overlays[0].Peers {
				got[p.Node] = p.texts()
				if len(p.AllowedIPs) == 0 && p.Keepalive == 0 {
					t.Errorf("nobody calls %s any more", p.Node)
				}
			}
			if len(got) != len(row.want) {
				t.Errorf("peers %v, want %v", got, row.want)
			}
			for node, prefixes := range row.want {
				if !slices.Equal(got[node], prefixes) {
					t.Errorf("%s has %v, want %v", node, got[node], prefixes)
				}
			}
			if row.ignored == "" && len(s.Ignored) > 0 || row.ignored != "" && !slices.Contains(s.Ignored, Ignored{"network globex on node n3", row.ignored}) {
				t.Errorf("ignored %v, want %q", s.Ignored, row.ignored)
			}
			bound := slices.ContainsFunc(s.Bindings, func(b Binding) bool {
				return b.Remote && b.Address == netip.MustParseAddr("2001:db8:cccc:2::101") && b.Interface == s.Overlays[0].Interface
			})
			if bound != (row.ignored == "") {
				t.Errorf("n3's workload is bound: %v", bound)
			}
			if s.Overlays[0].Relay != (row.exit == "n1") {
				t.Errorf("relay %v, the exit is %s", s.Overlays[0].Relay, row.exit)
			}
		})
	}
}

// TestGone: who is gone keeps its /64 and no endpoint, so that it can come back.
func TestGone(t *testing.T) {
	in := spanning(t)
	in.Nodes[0].Gone = true
	in.Nodes[1].Gone = true // a hidden one: where it called from is forgotten, too
	for _, node := range []string{"n2", "n3"} {
		if p := mustCompute(t, in).peer(t, "globex", node); !p.Gone || p.Endpoint.IsValid() || p.Keepalive != 0 || len(p.AllowedIPs) != 1 {
			t.Errorf("peer %+v of a node that is gone", p)
		}
	}
}

// TestUnheard: who is not heard there calls from here, so that both come to know
// whether they hear each other.
func TestUnheard(t *testing.T) {
	in := spanning(t)
	in.Parts[1].Unheard = true
	if p := mustCompute(t, in).peer(t, "globex", "n2"); p.Keepalive != keepalive || len(p.AllowedIPs) != 1 {
		t.Errorf("peer %+v: want a keepalive, and without an exit nothing else", p)
	}
}
