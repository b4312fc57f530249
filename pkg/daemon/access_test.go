package daemon

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
	"github.com/zosnet/zosnet/pkg/spec"
	"github.com/zosnet/zosnet/pkg/trust"
	"github.com/zosnet/zosnet/pkg/wireguard"
)

const aliceKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

// TestEntrances: what stands in people's configurations is the same after a restart,
// and apart for each network; what a network had that is gone is not kept.
func TestEntrances(t *testing.T) {
	dir := t.TempDir()
	open := func() *entrances {
		e, err := openEntrances(dir)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	of := func(e *entrances, network string) plan.EntranceKey {
		key, err := e.of(network, "n1", makeKeys)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	first := open()
	acme, globex := of(first, "acme"), of(first, "globex")
	if acme.PublicKey == globex.PublicKey || acme.Port == globex.Port || acme.Port < wireguard.FirstEntrancePort {
		t.Errorf("acme has %+v, globex %+v", acme, globex)
	}
	if again := of(open(), "acme"); again != acme {
		t.Errorf("after a restart acme has %+v, before %+v", again, acme)
	}
	if err := first.forget("acme"); err != nil {
		t.Fatal(err)
	}
	second := open()
	if next := of(second, "acme"); next.PublicKey == acme.PublicKey {
		t.Error("a network that came anew has the key of the one that was deleted")
	}
	if again := of(second, "globex"); again != globex {
		t.Errorf("globex has %+v, before %+v", again, globex)
	}
}

// TestEntrancesWhereDevicesEnd: a node makes no key for what ends elsewhere.
func TestEntrancesWhereDevicesEnd(t *testing.T) {
	e, err := openEntrances(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	text := "network: NAME\nnodes: [n1, n2]\naccess: {alice: {publicKey: \"" + aliceKey + "\", at: NODE}}\n"
	in := plan.Input{
		Node:  &spec.Node{Name: "n1", Endpoint: netip.MustParseAddr("192.0.2.1")},
		Nodes: []plan.Node{{Name: "n2", Endpoint: netip.MustParseAddr("192.0.2.2")}},
	}
	for _, node := range []string{"n1", "n2"} {
		document := parsed(t, strings.NewReplacer("NAME", "on-"+node, "NODE", node).Replace(text)).network
		in.Networks = append(in.Networks, plan.Record{Document: document})
	}
	if err := e.add(&in, makeKeys); err != nil {
		t.Fatal(err)
	}
	if len(in.Entrances) != 1 || in.Entrances[0].Network != "on-n1" {
		t.Errorf("entrances %+v, want that of on-n1", in.Entrances)
	}
}

// TestForeseenEntrances: what is only looked at has the port that it would get, no key,
// and leaves nothing behind.
func TestForeseenEntrances(t *testing.T) {
	dir := t.TempDir()
	e, err := openEntrances(dir)
	if err != nil {
		t.Fatal(err)
	}
	foreseen, err := e.of("acme", "n1", findKeys)
	if err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if files, _ := filepath.Glob(filepath.Join(dir, "*.json")); err != nil || len(left)+len(files) > 0 {
		t.Errorf("left are %v, %v, %v", left, files, err)
	}
	made, err := e.of("acme", "n1", makeKeys)
	if err != nil {
		t.Fatal(err)
	}
	if foreseen.Port != made.Port || foreseen.PublicKey != [32]byte{} || made.PublicKey == [32]byte{} {
		t.Errorf("foreseen %+v, made %+v", foreseen, made)
	}
	if again, err := e.of("acme", "n1", findKeys); err != nil || again != made {
		t.Errorf("looked at again it is %+v, %v, and was made %+v", again, err, made)
	}
}

// TestGivenAnew: whose configurations a document makes old, each line from one to the next.
func TestGivenAnew(t *testing.T) {
	device := func(name, key string) string { return name + ": {publicKey: \"" + key + "\"}" }
	const other = "gN65BkIKy1eCE9pP1wdc8ROUtkHLF2PfAqYdyYBz6EA="
	for _, c := range []struct{ what, before, after, want string }{
		{"another node", "nodes: [n1]\naccess: {" + device("alice", aliceKey) + "}", "nodes: [n1, n2]\naccess: {" + device("alice", aliceKey) + "}", "alice"},
		{"one less", "nodes: [n1, n2]\naccess: {" + device("alice", aliceKey) + "}", "nodes: [n2]\naccess: {" + device("alice", aliceKey) + "}", "alice"},
		{"an exit", "nodes: [n1]\naccess: {" + device("alice", aliceKey) + "}", "nodes: [n1]\nexit: n2\naccess: {" + device("alice", aliceKey) + "}", "alice"},
		{"the same in another order", "nodes: [n1, n2]\naccess: {" + device("alice", aliceKey) + "}", "nodes: [n2, n1]\naccess: {" + device("alice", aliceKey) + "}", ""},
		{"who comes with the node has it", "nodes: [n1]\naccess: {" + device("bob", other) + "}", "nodes: [n1, n2]\naccess: {" + device("alice", aliceKey) + ", " + device("bob", other) + "}", "bob"},
		{"who has another key now", "nodes: [n1]\naccess: {" + device("alice", other) + "}", "nodes: [n1, n2]\naccess: {" + device("alice", aliceKey) + "}", ""},
		{"nobody", "nodes: [n1]", "nodes: [n1, n2]", ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			got := givenAnew(parsed(t, "network: acme\n"+c.before+"\n").network, parsed(t, "network: acme\n"+c.after+"\n").network)
			if (got == "") != (c.want == "") || !strings.Contains(got, "configurations of "+c.want) && c.want != "" {
				t.Errorf("said is %q, want %q", got, c.want)
			}
		})
	}
	if got := givenAnew(nil, parsed(t, "network: acme\nnodes: [n1]\n").network); got != "" {
		t.Errorf("of a new network: %s", got)
	}
}

// TestUnknownPrefixes: a configuration that is not whole says of which nodes.
func TestUnknownPrefixes(t *testing.T) {
	document := parsed(t, "network: acme\nnodes: [n1, n2, n3, n4]\n").network
	prefix := netip.MustParsePrefix
	v := view{node: "n1", input: plan.Input{Parts: []plan.Part{
		{Network: "acme", Node: "n1", Prefix: prefix("2001:db8:aaaa:1::/64")},
		{Network: "acme", Node: "n2", Prefix: prefix("2001:db8:bbbb:1::/64")},
		{Network: "acme", Node: "n3", Prefix: prefix("2001:db8:cccc:1::/64")}, // left out: not its own, say
		{Network: "globex", Node: "n4", Prefix: prefix("2001:db8:dddd:1::/64")},
	}}}
	got := v.withoutPrefix(document, []string{"2001:db8:aaaa:1::/64", "2001:db8:bbbb:1::/64"})
	if want := []string{"n3", "n4"}; !slices.Equal(got, want) {
		t.Errorf("unknown are %v, want %v", got, want)
	}
}

// TestAccessElsewhere: what a document with access changes on other nodes can be told
// before it does.
func TestAccessElsewhere(t *testing.T) {
	block := netip.MustParsePrefix("2001:db8:aaaa::/56")
	prefix := netip.MustParsePrefix("2001:db8:aaaa:1::/64")
	part := &gridstore.Part{Prefix: prefix, PublicKey: wireguard.PublicKey{1}.String(), Port: 21001, Block: block, Holder: "n1"}
	from := parsed(t, "network: acme\nnodes: [n1]\nservices: {web: {ports: tcp/443}}\n").network
	to := parsed(t, "network: acme\nnodes: [n1]\nservices: {web: {ports: tcp/443}}\naccess: {alice: {publicKey: \""+aliceKey+"\", allow: web}}\n").network
	f := &foresight{from: from, to: to, snap: gridstore.Snapshot{
		Nodes: map[string]*gridstore.Node{"n1": {
			Name: "n1", Live: true, Identity: &trust.Identity{}, Record: &gridstore.Record{Endpoint: netip.MustParseAddr("192.0.2.1")},
			Holding: ipam.Holding{
				Registrations: map[netip.Prefix]ipam.Registration{netip.MustParsePrefix("2001:db8:aaaa::/48"): {Prefix: netip.MustParsePrefix("2001:db8:aaaa::/48"), Holder: "n1"}},
				Blocks:        map[netip.Prefix]ipam.Delegation{block: {Node: "n1"}},
			},
		}},
		Networks: map[string]*gridstore.Network{"acme": {Name: "acme", Parts: map[string]*gridstore.Part{"n1": part}}},
	}}
	if err := f.foresee("n2"); err != nil {
		t.Fatal(err)
	}
	for _, object := range []string{"entrance of network acme", "access device acme/alice", "network acme access.alice.web"} {
		if !slices.ContainsFunc(f.changes, func(c *api.NodeChange) bool {
			return c.Node == "n1" && c.Object == object && c.Action == string(plan.Add)
		}) {
			t.Errorf("%s is not among what comes: %v, %v", object, f.changes, f.notes)
		}
	}
}
