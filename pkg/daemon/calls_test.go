package daemon

import (
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/wireguard"
)

// TestCalls says whom a node calls when: a peer with a greater key at once and one with a
// smaller key after a while, as soon as workloads of both could speak, and again for each
// reason to think that there is no session.
func TestCalls(t *testing.T) {
	const acme, globex = "zoacme-1", "zoglobex-1"
	later, earlier := wireguard.PublicKey{9}, wireguard.PublicKey{1} // than this node's key
	at := netip.MustParseAddrPort("192.0.2.2:21000")
	peer := func(node string, key wireguard.PublicKey) plan.Peer {
		return plan.Peer{Node: node, PublicKey: key, Endpoint: at}
	}
	overlays := func(peers ...plan.Peer) []plan.Overlay {
		return []plan.Overlay{
			{Network: "acme", Interface: acme, PublicKey: [32]byte{5}, Peers: peers},
			{Network: "globex", Interface: globex, PublicKey: [32]byte{5}, Peers: []plan.Peer{peer("n2", later)}},
		}
	}
	both := overlays(peer("n2", later), peer("n3", earlier))
	here := []plan.Attachment{{Network: "acme", Name: "web-1"}}
	there := []plan.Remote{{Network: "acme", Node: "n2", Name: "db-1"}, {Network: "acme", Node: "n3", Name: "db-2"}}
	moved := peer("n2", later)
	moved.Endpoint = netip.MustParseAddrPort("192.0.2.77:21000")
	dials, hidden, gone := peer("n3", earlier), peer("n2", later), peer("n2", later)
	dials.Keepalive, gone.Endpoint = 25, netip.AddrPort{}
	hidden.Endpoint, hidden.Keepalive = netip.AddrPort{}, 25

	begin := time.Unix(1_000_000, 0)
	c := newCalls()
	for i, row := range []struct {
		what        string
		overlays    []plan.Overlay
		here        []plan.Attachment
		there       []plan.Remote
		changes     []plan.Change
		now, second []wireguard.PublicKey // called at once, and a second later
	}{
		{"nobody is here", both, nil, there, nil, nil, nil},
		{"nobody is there", both, here, nil, nil, nil, nil},
		{"somebody is", both, here, there, nil, []wireguard.PublicKey{later}, []wireguard.PublicKey{earlier}},
		{"nothing changes", both, here, there, nil, nil, nil},
		{"one more here", both, append(here, plan.Attachment{Network: "acme", Name: "web-2"}), there, nil, []wireguard.PublicKey{later}, []wireguard.PublicKey{earlier}},
		{"one less", both, here, there, nil, nil, nil},
		{"one more there", both, here, append(there, plan.Remote{Network: "acme", Node: "n3", Name: "db-3"}), nil, nil, []wireguard.PublicKey{earlier}},
		{"the device was made anew", both, here, there, []plan.Change{{Object: "overlay acme"}}, []wireguard.PublicKey{later}, []wireguard.PublicKey{earlier}},
		{"another network's was", both, here, there, []plan.Change{{Object: "overlay globex"}}, nil, nil},
		{"n2 has moved, n3 goes", overlays(moved), here, there, nil, []wireguard.PublicKey{later}, nil},
		{"n2 is gone, n3 hidden", overlays(gone, dials), here, there, nil, nil, nil},
		{"n2 is hidden", overlays(hidden), here, there, nil, nil, nil},
		{"both are back", both, here, there, nil, []wireguard.PublicKey{later}, []wireguard.PublicKey{earlier}},
	} {
		now := begin.Add(time.Duration(i) * time.Minute)
		v := view{overlays: row.overlays, input: plan.Input{Attachments: row.here, Remote: row.there}}
		c.enforced(row.changes)
		c.look(v.wants(), now)
		list, next := c.take(now)
		if !slices.Equal(list[acme], row.now) || len(list[globex]) > 0 {
			t.Errorf("%s: at once %v, want %v", row.what, list, row.now)
		}
		if want := len(row.second) > 0; want != !next.IsZero() {
			t.Errorf("%s: somebody is called later: %v", row.what, !next.IsZero())
		}
		if early, _ := c.take(now.Add(callPatience - 1)); len(early) > 0 {
			t.Errorf("%s: %v is called too early", row.what, early)
		}
		if list, next = c.take(now.Add(callPatience)); !slices.Equal(list[acme], row.second) || !next.IsZero() {
			t.Errorf("%s: later %v, want %v", row.what, list, row.second)
		}
	}
	for _, after := range []time.Duration{0, callPatience / 2, callPatience} {
		here = append(here, plan.Attachment{Network: "acme", Name: "web-3"})
		c.look(view{overlays: both, input: plan.Input{Attachments: here, Remote: there}}.wants(), begin.Add(after))
		list, _ := c.take(begin.Add(after))
		if called := slices.Contains(list[acme], earlier); called != (after == callPatience) {
			t.Errorf("with one more workload after the other, who has the smaller key was called after %v: %v", after, called)
		}
	}
	rotating := view{overlays: []plan.Overlay{
		{Network: "acme", Interface: acme, Heir: "zoacme-2", Peers: []plan.Peer{peer("n2", later)}},
		{Network: "acme", Interface: "zoacme-2", PublicKey: [32]byte{5}, Peers: []plan.Peer{peer("n2", earlier)}},
	}}
	if wants := slices.Collect(maps.Keys(rotating.wants())); !slices.Equal(wants, []path{{"zoacme-2", earlier}}) {
		t.Errorf("while a key is changed and nobody speaks, %v are wanted; want the one under the new key", wants)
	}
	c.enforced([]plan.Change{{Object: "overlay acme"}})
	c.look(view{overlays: both, input: plan.Input{Attachments: here, Remote: there}}.wants(), begin)
	c.look(map[path]want{}, begin)
	if list, _ := c.take(begin.Add(time.Hour)); len(slices.Collect(maps.Keys(list))) > 0 {
		t.Errorf("%v is called, to whom no path is wanted any more", list)
	}
}
