package delegation

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
)

// blockGrid is nodes that give /64s to networks, and what the registry has of them.
type blockGrid struct {
	t      *testing.T
	now    time.Time
	nodes  map[string]*gridstore.Node
	local  map[string]*registry.Snapshot
	held   map[string][]ipam.Registration
	away   map[string]bool // from the registry
	owners map[netip.Prefix]string
}

func newBlockGrid(t *testing.T, holders map[string]string, nodes ...string) *blockGrid {
	g := &blockGrid{
		t: t, now: allocated, nodes: map[string]*gridstore.Node{}, local: map[string]*registry.Snapshot{},
		held: map[string][]ipam.Registration{}, away: map[string]bool{}, owners: map[netip.Prefix]string{},
	}
	for holder, prefix := range holders {
		g.held[holder] = []ipam.Registration{{Prefix: pfx(prefix), Holder: holder}}
		nodes = append(nodes, holder)
	}
	for _, name := range nodes {
		g.nodes[name] = &gridstore.Node{Name: name, Holding: ipam.Holding{Holder: name}, Admitted: &gridstore.Admission{}}
		g.local[name] = &registry.Snapshot{}
	}
	return g
}

func (g *blockGrid) snapshot() gridstore.Snapshot {
	return gridstore.Snapshot{Source: gridstore.SourceCluster, Nodes: g.nodes}
}

// settle is what a node's daemon does when it hears of anything.
func (g *blockGrid) settle(name string) error {
	if g.away[name] {
		return nil
	}
	node, local := g.nodes[name], g.local[name]
	if registrations := g.held[name]; len(registrations) > 0 {
		need := held{node: name, registrations: registrations, local: *local, requests: requestsOf(g.snapshot())}
		node.Holding, _ = need.bring(node.Holding, g.now) // depleted now and then
	}
	local.Blocks = blocksAfter(name, local.Blocks, g.snapshot(), node.Holding, true)
	next, err := asking{node: name, snap: g.snapshot(), local: *local, using: local.Blocks, now: g.now}.request(func() (map[string]ipam.Holding, error) {
		return knownHoldings(g.snapshot()), nil
	})
	if next != nil {
		node.Request = next
	}
	return err
}

// give gives a network its /64 on a node, and holds it against everybody's.
func (g *blockGrid) give(name, network string) error {
	local := g.local[name]
	blocks, err := ipam.ParseBlocks(blocksOf(local.Blocks))
	if err != nil {
		return err
	}
	state, p, err := local.IPAM.Allocate(blocks, network, name, g.now)
	if err != nil {
		return err
	}
	owner := network + " on " + name
	if was := g.owners[p]; was != "" && was != owner {
		g.t.Errorf("%v is given to %s and is %s's", p, owner, was)
	}
	local.IPAM, g.owners[p] = state, owner
	return nil
}

// TestBlocksGrow: nodes take blocks as they need them, some cut off for a while, until
// everything is used. No /64 is given twice, and none is left behind.
func TestBlocksGrow(t *testing.T) {
	g := newBlockGrid(t, map[string]string{"gw1": "2001:db8:1::/54", "gw2": "2001:db8:2::/55"}, "n1", "n2", "n3")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	names, full := slices.Sorted(maps.Keys(g.nodes)), map[string]bool{}
	for step := 0; len(full) < len(names); step++ {
		name := names[random.IntN(len(names))]
		if step%500 == 0 {
			clear(g.away)
			g.away[names[random.IntN(len(names))]] = true
		}
		err := errors.Join(g.settle(name), g.give(name, fmt.Sprintf("net%d", step)))
		var exhausted *ipam.ExhaustedError
		if full[name] = errors.As(err, &exhausted) && !g.away[name]; !full[name] {
			delete(full, name)
		}
		if step > 50000 {
			t.Fatalf("after %d steps only %v are full", step, full)
		}
	}
	if want := 6 * 255; len(g.owners) != want {
		t.Errorf("%d /64s were given, want all %d", len(g.owners), want)
	}
	_, err := chooseHolder(knownHoldings(g.snapshot()), "n1", "", g.now)
	for _, name := range names {
		for _, h := range g.nodes {
			if len(h.Holding.Of(name)) > 0 && (err == nil || !strings.Contains(err.Error(), name+" has ")) {
				t.Errorf("of %s, which has blocks, %v says nothing", name, err)
			}
		}
	}
}

// TestBlocksStay: what a node has stays whatever it asks of others, and what is taken
// back it gives no more.
func TestBlocksStay(t *testing.T) {
	g := newBlockGrid(t, map[string]string{"gw1": "2001:db8:1::/55", "gw2": "2001:db8:2::/48"}, "n1")
	settle := func() {
		for range 3 {
			for _, name := range slices.Sorted(maps.Keys(g.nodes)) {
				if err := g.settle(name); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	g.nodes["n1"].Request = &ipam.Request{Holder: "gw1", Blocks: 1}
	settle()
	for n := range 240 { // it asks gw1, which has none left, and then gw2
		if err := g.give("n1", fmt.Sprintf("net%d", n)); err != nil {
			t.Fatal(err)
		}
	}
	settle()
	want := map[string]string{"2001:db8:1:100::/56": "gw1", "2001:db8:2:100::/56": "gw2"}
	have := map[string]string{}
	for _, b := range g.local["n1"].Blocks {
		have[b.Block.String()] = b.Holder
	}
	if !maps.Equal(have, want) {
		t.Fatalf("blocks %v, want %v", have, want)
	}
	gw1 := g.nodes["gw1"]
	var err error
	if gw1.Holding, err = gw1.Holding.Release(pfx("2001:db8:1:100::/56"), "n1", g.now); err != nil {
		t.Fatal(err)
	}
	settle()
	for n := range 100 {
		if err := g.give("n1", fmt.Sprintf("later%d", n)); err != nil {
			t.Fatal(err)
		}
	}
	for p, owner := range g.owners {
		if strings.HasPrefix(owner, "later") && !pfx("2001:db8:2::/48").Contains(p.Addr()) {
			t.Errorf("%s got %v of a block that was taken back", owner, p)
		}
	}
}

// TestNoBlock: what whoever applies a network is told where no /64 is left.
func TestNoBlock(t *testing.T) {
	full := heldBy("gw1", []string{"2001:db8:1::/56"}, map[string]string{"2001:db8:1::/56": "n2"})
	grid := func(source gridstore.Source, holdings ...ipam.Holding) gridstore.Snapshot {
		snap := gridstore.Snapshot{Source: source, Nodes: map[string]*gridstore.Node{}}
		for _, h := range holdings {
			snap.Nodes[h.Holder] = &gridstore.Node{Name: h.Holder, Holding: h}
		}
		return snap
	}
	_, _, none := ipam.State{}.Allocate(ipam.Blocks{}, "acme", "n1", allocated)
	for _, row := range []struct {
		name string
		err  error
		snap gridstore.Snapshot
		want string
	}{
		{"the registry is away", none, grid(gridstore.SourceCache, full), "registry cannot be reached"},
		{"somebody has some left", none, grid(gridstore.SourceCluster, full, heldBy("gw2", []string{"2001:db8:2::/48"}, nil)), "asked of node gw2"},
		{"nobody has", none, grid(gridstore.SourceCluster, full), "2001:db8:1::/56 of node gw1: none is free: n2 has 1 block, 100.0 %"},
		{"nobody holds any", none, grid(gridstore.SourceCluster), "zosnet prefix register"},
		{"something else is wrong", errors.New("disk full"), grid(gridstore.SourceCluster, full), "disk full"},
	} {
		if got := noBlock(row.err, row.snap, "n1", allocated).Error(); !strings.HasPrefix(got, row.err.Error()) || !strings.Contains(got, row.want) {
			t.Errorf("%s: %s", row.name, got)
		}
	}
}
