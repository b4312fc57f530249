package grid_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/zosnet/zosnet/pkg/grid"
	"github.com/zosnet/zosnet/pkg/trust"
)

func nothingTaken(netip.Addr) bool { return false }

func TestControlPrefix(t *testing.T) {
	first, second := must(grid.NewControlPrefix()), must(grid.NewControlPrefix())
	fails(t, grid.CheckControlPrefix(first), nil)
	if first == second {
		t.Errorf("two grids have %v", first)
	}
	for _, bad := range []string{"2001:db8::/64", "fc00::/64", "fd00::/48", "fd00::/65", "fd00::1/64", "10.0.0.0/8"} {
		if grid.CheckControlPrefix(netip.MustParsePrefix(bad)) == nil {
			t.Errorf("%s is taken for a control network", bad)
		}
	}
}

// An address follows from the name: it is the same wherever and whenever it is
// asked for. This one must never change, since nodes have it.
func TestAddress(t *testing.T) {
	first := must(grid.Address(controlNet, "n1", nothingTaken))
	if want := netip.MustParseAddr(addressOfN1); first != want {
		t.Errorf("n1 has %v, had %v", first, want)
	}
	second := must(grid.Address(controlNet, "n1", func(a netip.Addr) bool { return a == first }))
	if second == first || !controlNet.Contains(second) {
		t.Errorf("its address is taken, and it is given %v", second)
	}
	if _, err := grid.Address(controlNet, "n1", func(netip.Addr) bool { return true }); err == nil {
		t.Error("where everything is taken an address is given")
	}
}

const addressOfN1 = "fd5a:2f1c:77aa:9:472e:4cfd:c3d1:ad16"

// Nobody shares an address: not two nodes, not a node and a guest.
func TestAddressProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		taken := map[netip.Addr]bool{}
		for _, name := range rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z][a-z0-9-]{0,30}`), 1, 40, rapid.ID[string]).Draw(t, "names") {
			addr, err := grid.Address(controlNet, name, func(a netip.Addr) bool { return taken[a] })
			if err != nil || taken[addr] || !controlNet.Contains(addr) || addr == controlNet.Addr() {
				t.Fatalf("%s: %v, %v", name, addr, err)
			}
			taken[addr] = true
		}
		var key trust.ControlKey
		copy(key[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "guest's key"))
		guest := grid.GuestAddress(controlNet, key)
		if taken[guest] || !controlNet.Contains(guest) || guest.As16()[8]&0x80 == 0 {
			t.Fatalf("guest: %v", guest)
		}
		for addr := range taken {
			if addr.As16()[8]&0x80 != 0 {
				t.Fatalf("node's address %v could be a guest's", addr)
			}
		}
	})
}

// node makes a node of the control network; port 0: it is hidden.
func node(name string, port uint16) grid.Node {
	n := grid.Node{Name: name, Address: must(grid.Address(controlNet, name, nothingTaken))}
	copy(n.ControlKey[:], "key of "+name)
	if port != 0 {
		n.Endpoint = netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), port)
	}
	return n
}

func TestPeers(t *testing.T) {
	m1, m2, n3, hidden := node("m1", 1), node("m2", 2), node("n3", 3), node("n4", 0)
	all := []grid.Node{m1, m2, n3, hidden}
	members := []string{"m1", "m2"}
	in := &inviter{ca: must(trust.NewCA(noon)), key: m1.ControlKey, address: netip.AddrPortFrom(m1.Address, 2391),
		registry: &registry{tokens: map[string]trust.PendingToken{}}}
	token := in.token().Pending()
	request := must(trust.ParseRequest(must(candidate("n5").Key.Request("n5", trust.ControlKey{5}))))
	used := token.Use(request, noon)
	guest := grid.GuestAddress(controlNet, token.Peer).String()
	twin := node("z9", 9) // claims what n3 has
	twin.ControlKey = n3.ControlKey
	squatter := node("z9", 9)
	squatter.Address = m1.Address
	outside := node("z9", 9)
	outside.Address = netip.MustParseAddr("2001:db8::1")
	asGuest := node("z9", 9)
	asGuest.Address = grid.GuestAddress(controlNet, token.Peer)
	keyless := node("z9", 9)
	keyless.ControlKey = trust.ControlKey{}

	tests := []struct {
		name    string
		self    string
		nodes   []grid.Node
		pending []trust.PendingToken
		after   time.Duration
		want    []string // "KEY/ENDPOINT'S PORT/KEEPALIVE"
		wrong   string
	}{
		{"a member has every node and speaks to it", "m1", all, nil, 0, []string{"m2/2/25s", "n3/3/25s", "n4/-/25s"}, ""},
		{"another node has the members", "n3", all, nil, 0, []string{"m1/1/0s", "m2/2/0s"}, ""},
		{"a hidden node dials them and keeps the way open", "n4", all, nil, 0, []string{"m1/1/25s", "m2/2/25s"}, ""},
		{"a node that knows nobody", "n3", nil, nil, 0, nil, ""},
		{"a guest, until its token expires", "m1", all[:1], []trust.PendingToken{token}, time.Hour - 1, []string{guest + "/-/0s"}, ""},
		{"a token that has expired", "m1", all[:1], []trust.PendingToken{token}, time.Hour, nil, ""},
		{"who has just joined is a guest for a little longer", "m1", all[:1], []trust.PendingToken{used}, time.Minute, []string{guest + "/-/0s"}, ""},
		{"who joined is a guest no longer", "m1", all[:1], []trust.PendingToken{used}, 2 * time.Minute, nil, ""},
		{"another's key", "m1", append(all[:3:3], twin), nil, 0, []string{"m2/2/25s", "n3/3/25s"}, "control key"},
		{"another's address", "m1", append(all[:3:3], squatter), nil, 0, []string{"m2/2/25s", "n3/3/25s"}, "belongs to node m1"},
		{"an address outside", "m1", append(all[:3:3], outside), nil, 0, []string{"m2/2/25s", "n3/3/25s"}, "no node's address"},
		{"an address of guests", "m1", append(all[:3:3], asGuest), nil, 0, []string{"m2/2/25s", "n3/3/25s"}, "no node's address"},
		{"no key", "m1", append(all[:3:3], keyless), nil, 0, []string{"m2/2/25s", "n3/3/25s"}, "no control key"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			view := grid.View{Self: test.self, Control: controlNet, Nodes: test.nodes, Members: members, Pending: test.pending}
			peers, err := grid.Peers(view, noon.Add(test.after))
			if test.wrong == "" && err != nil || test.wrong != "" && (err == nil || !strings.Contains(err.Error(), test.wrong)) {
				t.Errorf("error %v, want %q", err, test.wrong)
			}
			if d := cmp.Diff(test.want, shown(peers), cmpopts.EquateEmpty()); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
			slices.Reverse(test.nodes)
			again, _ := grid.Peers(view, noon.Add(test.after))
			slices.Reverse(test.nodes)
			if d := cmp.Diff(shown(peers), shown(again)); d != "" {
				t.Errorf("the order of the records matters:\n%s", d)
			}
		})
	}
}

// shown gives peers as the table above writes them, sorted.
func shown(peers []grid.Peer) []string {
	var list []string
	for _, p := range peers {
		if len(p.AllowedIPs) != 1 || !p.AllowedIPs[0].IsSingleIP() {
			return []string{fmt.Sprintf("peer with %v", p.AllowedIPs)}
		}
		name, isNode := strings.CutPrefix(strings.TrimRight(string(p.PublicKey[:]), "\x00"), "key of ")
		if !isNode {
			name = p.AllowedIPs[0].Addr().String()
		} else if p.AllowedIPs[0].Addr() != node(name, 0).Address {
			return []string{fmt.Sprintf("peer %s with %v", name, p.AllowedIPs)}
		}
		port := "-"
		if p.Endpoint.IsValid() {
			port = fmt.Sprint(p.Endpoint.Port())
		}
		list = append(list, fmt.Sprintf("%s/%s/%v", name, port, p.Keepalive))
	}
	slices.Sort(list)
	return list
}

// A guest reaches the node that invites and nobody else, by each of its endpoints;
// the node that invites has it as a peer with that address.
func TestGuests(t *testing.T) {
	address := trust.TokenAddress{
		CA: trust.Fingerprint{1}, ControlKey: node("m1", 1).ControlKey,
		Service: netip.AddrPortFrom(node("m1", 1).Address, grid.ServicePort),
		Endpoints: []netip.AddrPort{
			netip.MustParseAddrPort("192.0.2.1:51820"), netip.MustParseAddrPort("[2001:db8::1]:51820"),
		},
	}
	token := must(trust.NewToken(address, noon.Add(time.Hour)))
	guests := grid.Guests(token)
	if len(guests) != 2 {
		t.Fatalf("%d ways in, want 2", len(guests))
	}
	peers := must(grid.Peers(grid.View{Self: "m1", Members: []string{"m1"}, Control: controlNet,
		Pending: []trust.PendingToken{token.Pending()}}, noon))
	for i, g := range guests {
		want := grid.Peer{
			PublicKey: address.ControlKey, Endpoint: address.Endpoints[i], Keepalive: grid.Keepalive,
			AllowedIPs: []netip.Prefix{netip.PrefixFrom(address.Service.Addr(), 128)},
		}
		if d := cmp.Diff(want, g.Peer, cmpopts.EquateComparable(netip.AddrPort{}, netip.Prefix{})); d != "" {
			t.Errorf("way %d:\n%s", i, d)
		}
		if g.PrivateKey() != token.PeerPrivateKey() || g.Address != peers[0].AllowedIPs[0].Addr() || peers[0].PublicKey != token.PeerPublicKey() {
			t.Errorf("way %d: the two sides do not fit: %v, %+v", i, g.Address, peers[0])
		}
	}
}
