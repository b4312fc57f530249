package daemon

import (
	"net/netip"
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
