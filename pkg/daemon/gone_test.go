package daemon

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
)

// TestGone: a node is gone that the registry has said for five minutes not to be live,
// and that has no session with this one.
func TestGone(t *testing.T) {
	left := time.Unix(1_000_000, 0)
	old, next := [32]byte{2}, [32]byte{22}
	for _, row := range []struct {
		what      string
		node      *gridstore.Node
		confirmed time.Duration // after it left
		session   [32]byte
		lost      bool
		gone      bool
		silent    bool
	}{
		{"live", &gridstore.Node{Live: true}, time.Hour, [32]byte{}, false, false, false},
		{"never heard of", nil, time.Hour, [32]byte{}, false, false, false},
		{"never live", &gridstore.Node{}, time.Hour, [32]byte{}, false, false, false},
		{"its daemon starts anew", &gridstore.Node{Left: left}, silentAfter - time.Second, [32]byte{}, false, false, false},
		{"away for a while", &gridstore.Node{Left: left}, goneAfter - time.Second, [32]byte{}, false, false, true},
		{"away, and does not answer", &gridstore.Node{Left: left}, goneAfter - time.Second, old, true, false, true},
		{"gone", &gridstore.Node{Left: left}, goneAfter, [32]byte{}, false, true, true},
		{"it has lost the registry", &gridstore.Node{Left: left}, time.Hour, old, false, false, false},
		{"and changes its key", &gridstore.Node{Left: left}, time.Hour, next, false, false, false},
		{"somebody else speaks", &gridstore.Node{Left: left}, time.Hour, [32]byte{3}, false, true, true},
	} {
		v := view{input: plan.Input{
			Nodes: []plan.Node{{Name: "n2"}},
			Parts: []plan.Part{{Node: "n2", PublicKey: old, Next: &plan.Successor{PublicKey: next}}, {Node: "n3", PublicKey: [32]byte{3}}},
		}}
		sessions := []plan.Session{{Interface: "zoacme-1", PublicKey: row.session, Established: true, Lost: row.lost}}
		snap := gridstore.Snapshot{Confirmed: left.Add(row.confirmed), Nodes: map[string]*gridstore.Node{"n2": row.node}}
		if got := v.observes(sessions, snap); got != (row.silent || row.lost) {
			t.Errorf("%s: another plan %v, want %v", row.what, got, row.silent)
		}
		in := v.input
		in.Sessions = sessions
		markGone(&in, snap)
		if n := in.Nodes[0]; n.Gone != row.gone || n.Silent != row.silent {
			t.Errorf("%s: gone %v, silent %v; want %v, %v", row.what, n.Gone, n.Silent, row.gone, row.silent)
		}
	}
}

// TestObserves: what a session does not change in the plan wakes nobody.
func TestObserves(t *testing.T) {
	const alone, old, heir = "zoacme-1", "zoglobex-1", "zoglobex-2"
	session := func(device string, established, lost bool) []plan.Session {
		return []plan.Session{{Interface: device, PublicKey: [32]byte{2}, Established: established, Lost: lost}}
	}
	v := view{state: plan.State{Overlays: []plan.Overlay{{Interface: alone}, {Interface: old, Heir: heir}, {Interface: heir}}}}
	for _, row := range []struct {
		what string
		now  []plan.Session
		want bool
	}{
		{"a session begins", session(alone, true, false), false},
		{"a peer does not answer", session(alone, false, true), true},
		{"the new key answers", session(heir, true, false), true},
		{"the old one, too", session(old, true, false), true},
		{"nothing", session(heir, false, false), false},
	} {
		if got := v.observes(row.now, gridstore.Snapshot{}); got != row.want {
			t.Errorf("%s: another plan %v, want %v", row.what, got, row.want)
		}
	}
}

// TestUnheard: the grid is told of nodes that do not answer and are reached through the
// exit, not of those that are there because they say so.
func TestUnheard(t *testing.T) {
	const device = "zoacme-1"
	there := []netip.Prefix{netip.MustParsePrefix("2001:db8:bbbb:2::/64")}
	v := view{
		overlays: []plan.Overlay{{Network: "acme", Interface: device, Peers: []plan.Peer{
			{Node: "n2", PublicKey: [32]byte{2}}, {Node: "n3", PublicKey: [32]byte{3}}, {Node: "n4", PublicKey: [32]byte{4}, AllowedIPs: there},
		}}},
		input: plan.Input{Sessions: []plan.Session{
			{Interface: device, PublicKey: [32]byte{2}, Lost: true}, {Interface: device, PublicKey: [32]byte{3}},
			{Interface: device, PublicKey: [32]byte{4}, Lost: true},
		}},
	}
	if got := v.unheard(); len(got) != 1 || !slices.Equal(got["acme"], []string{"n2"}) {
		t.Errorf("unheard %v, want n2 in acme", got)
	}
}
