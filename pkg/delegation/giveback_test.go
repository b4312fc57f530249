package delegation

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
	"github.com/zosnet/zosnet/pkg/spec"
)

// TestKeepGivenBack: what a node gives back it does not use until neither its holder
// nor its own request speaks of it.
func TestKeepGivenBack(t *testing.T) {
	const block = "2001:db8:1:100::/56"
	back := []registry.Block{{Block: pfx(block), Holder: "gw1", GivenBack: true}}
	snap := func(asks bool, owner string) gridstore.Snapshot {
		r := ipam.Request{Holder: "gw1"}
		if asks {
			r.Release = pfxs(block)
		}
		s := gridstore.Snapshot{Nodes: map[string]*gridstore.Node{"n1": {Name: "n1", Request: &r}}}
		if owner != "" {
			s.Nodes["gw1"] = &gridstore.Node{Name: "gw1", Holding: heldBy("gw1", []string{"2001:db8:1::/48"}, map[string]string{block: owner})}
		}
		return s
	}
	for _, row := range []struct {
		name string
		have []registry.Block
		snap gridstore.Snapshot
		want []registry.Block
		late bool // it has not heard what it wrote
	}{
		{"not asked yet", back, snap(false, "n1"), back, false},
		{"asked", back, snap(true, "n1"), back, false},
		{"asked, and forgotten here", nil, snap(true, "n1"), back, false},
		{"the holder has it, the request is still there", back, snap(true, "n2"), back, false},
		{"the holder is not heard", back, snap(true, ""), back, false},
		{"neither speaks of it", back, snap(false, "n2"), nil, false},
		{"it came again", nil, snap(false, "n1"), []registry.Block{{Block: pfx(block), Holder: "gw1"}}, false},
		{"neither, before it was given", back, snap(false, ""), back, true},
		{"it is given still, before it was asked back", back, snap(false, "n1"), back, true},
	} {
		if got := blocksAfter("n1", row.have, row.snap, ipam.Holding{}, !row.late); !slices.Equal(got, row.want) {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
}

// chaosGrid is nodes as they are on their disks, and what the registry has had of them,
// from the first version to the last. Every node sees one of these, and never an older
// one than it has seen, unless it forgot everything.
type chaosGrid struct {
	t        *testing.T
	random   *rand.Rand
	now      time.Time
	held     map[string][]ipam.Registration
	disks    map[string]*registry.Snapshot
	versions []map[string]*gridstore.Node
	sees     map[string]int  // by node, the version; -1: only its cache, since it was killed
	wrote    map[string]int  // by node, the version that it wrote last, since it was killed
	cut      map[string]bool // from the registry
	owner    map[netip.Prefix]string
	until    map[netip.Prefix]time.Time
	given    int  // blocks that went back
	calm     bool // nobody dies, everybody hears everything at once
}

// networksOfNode is how many networks a node has at most: then it has 9 or 10 blocks.
const networksOfNode = 100

var errKilled = fmt.Errorf("killed")

// mayDie kills the node now and then: it keeps only its disk.
func (g *chaosGrid) mayDie(name string) error {
	if g.calm || g.random.IntN(40) > 0 {
		return nil
	}
	g.sees[name] = -1
	delete(g.wrote, name)
	return errKilled
}

// write makes the next version: one node's part of it is another.
func (g *chaosGrid) write(name string, change func(*gridstore.Node)) {
	next := maps.Clone(g.versions[len(g.versions)-1])
	n := *next[name]
	change(&n)
	next[name] = &n
	g.versions = append(g.versions, next)
}

// look gives what a node sees of the registry, which may be late; and now and then
// somebody is missing, as one whose certificate came late.
func (g *chaosGrid) look(name string) (gridstore.Snapshot, bool) {
	last := len(g.versions) - 1
	switch {
	case g.cut[name] && g.sees[name] < 0:
		return gridstore.Snapshot{}, false
	case g.cut[name]:
	case g.sees[name] < 0 || g.calm:
		g.sees[name] = last
	default:
		g.sees[name] += g.random.IntN(last - g.sees[name] + 1)
	}
	nodes := g.versions[g.sees[name]]
	if !g.calm && g.random.IntN(5) == 0 {
		nodes = maps.Clone(nodes)
		if lost := fmt.Sprintf("gw%d", g.random.IntN(2)+1); lost != name {
			delete(nodes, lost)
		}
	}
	return gridstore.Snapshot{Source: gridstore.SourceCluster, Nodes: nodes}, true
}

// settle is what settleBlocks does, and may end anywhere.
func (g *chaosGrid) settle(name string) error {
	snap, ok := g.look(name)
	if !ok {
		return nil
	}
	node, disk := &spec.Node{Name: name}, g.disks[name]
	for _, r := range g.held[name] {
		node.Prefixes = append(node.Prefixes, r.Prefix)
	}
	own, err := g.settleHolding(node, snap)
	if err != nil {
		return err
	}
	next := giveBack(node, *disk, blocksAfter(name, disk.Blocks, snap, own, g.sees[name] >= g.wrote[name]), g.now)
	if err := g.mayDie(name); err != nil {
		return err
	}
	for _, b := range disk.Blocks {
		if _, kept := blockIn(next, b.Block); b.GivenBack && !kept {
			g.given++
		}
	}
	disk.Blocks = next
	if err := g.mayDie(name); err != nil {
		return err
	}
	a := asking{node: name, snap: snap, local: *disk, using: inUse(node, *disk), now: g.now}
	asks, _ := a.request(func() (map[string]ipam.Holding, error) { return knownHoldings(snap), nil }) // depleted now and then
	if asks == nil || a.asked() != nil && a.asked().Same(*asks) || g.cut[name] || g.asks(name) != a.asked() {
		return nil
	}
	g.write(name, func(n *gridstore.Node) { n.Request = asks })
	g.wrote[name] = len(g.versions) - 1
	return g.mayDie(name)
}

// asks gives what a node asks, as the registry has it.
func (g *chaosGrid) asks(name string) *ipam.Request {
	return g.versions[len(g.versions)-1][name].Request
}

func (g *chaosGrid) settleHolding(node *spec.Node, snap gridstore.Snapshot) (ipam.Holding, error) {
	name := node.Name
	have := snap.Nodes[name].Holding
	if wrote := g.wrote[name]; g.sees[name] < wrote {
		have = g.versions[wrote][name].Holding
	}
	if len(g.held[name]) == 0 {
		return have, nil
	}
	need := held{node: name, registrations: g.held[name], local: *g.disks[name], requests: requestsOf(snap)}
	back := need.apart(have)
	next, _ := need.bring(have, g.now)
	change := !sameHolding(have, next)
	if g.cut[name] && (change || len(back) > 0) {
		return have, errNotWritten
	}
	if change {
		have, _ = need.bring(g.versions[len(g.versions)-1][name].Holding, g.now)
		if err := g.commit(name, have); err != nil {
			return have, err
		}
	}
	for _, node := range back {
		if r := snap.Nodes[node].Request; r == g.asks(node) {
			have, _ = need.answer(g.versions[len(g.versions)-1][name].Holding, map[string]ipam.Request{node: *r}, g.now)
			if err := g.commit(name, have); err != nil {
				return have, err
			}
		}
	}
	return have, nil
}

// commit writes what a node holds, or the node is killed before or right after that.
func (g *chaosGrid) commit(name string, h ipam.Holding) error {
	if err := g.mayDie(name); err != nil {
		return err
	}
	for block, d := range h.Blocks {
		if !d.Owned() && g.of(block) == d.Node {
			g.taken(block, d.Node)
		}
	}
	g.write(name, func(n *gridstore.Node) { n.Holding = h })
	g.wrote[name] = len(g.versions) - 1
	return g.mayDie(name)
}

// of gives the node that has a block, as the registry has it.
func (g *chaosGrid) of(block netip.Prefix) string {
	for _, holder := range []string{"gw1", "gw2"} {
		if d, known := g.versions[len(g.versions)-1][holder].Holding.Blocks[block]; known && d.Owned() {
			return d.Node
		}
	}
	return ""
}

// taken checks that a node uses nothing of a block that is taken from it.
func (g *chaosGrid) taken(block netip.Prefix, name string) {
	for p, l := range g.disks[name].IPAM.Prefixes {
		if block.Contains(p.Addr()) && (l.Owned() || g.now.Before(l.Until)) {
			g.t.Errorf("%v is taken from %s, where %s has or had %v", block, name, l.Network, p)
		}
	}
}

// make gives a network its /64, and holds that against everybody's.
func (g *chaosGrid) make(name, network string) {
	disk := g.disks[name]
	if _, has := disk.IPAM.Prefix(network, name); has {
		return
	}
	node := &spec.Node{Name: name}
	for _, r := range g.held[name] {
		node.Prefixes = append(node.Prefixes, r.Prefix)
	}
	blocks, err := ipam.ParseBlocks(giving(node, *disk, true).Prefixes)
	if err != nil {
		g.t.Fatal(err)
	}
	state, p, err := disk.IPAM.Allocate(blocks, network, name, g.now)
	if err != nil {
		return // exhausted
	}
	disk.IPAM = state
	owner := network + " on " + name
	if was := g.owner[p]; was != "" {
		g.t.Errorf("%v is given to %s and is %s's", p, owner, was)
	} else if g.now.Before(g.until[p]) {
		g.t.Errorf("%v is given to %s and rests until %s", p, owner, g.until[p])
	}
	g.owner[p] = owner
	if block, _ := blocks.Block(p); g.of(block) != name {
		g.t.Errorf("%v is given by %s, and its block is %q's", p, name, g.of(block))
	}
}

func (g *chaosGrid) end(name, network string) {
	disk := g.disks[name]
	if p, has := disk.IPAM.Prefix(network, name); has {
		delete(g.owner, p)
		g.until[p] = g.now.Add(ipam.Rest)
	}
	disk.IPAM = disk.IPAM.Release(network, g.now)
}

// TestGiveBackUnderChaos: 64 nodes get blocks of two others as they need them, and give
// them back. All 66 are killed at any moment, and cut off for a while, some for good;
// they hear late, and not of everybody. No /64 is given twice or before it has rested;
// in the end all agree who has what, and who has no network has only what it keeps at
// hand.
func TestGiveBackUnderChaos(t *testing.T) {
	const enough = 32 // blocks that went back, to say anything
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	g := &chaosGrid{
		t: t, random: rand.New(rand.NewPCG(seed, 1)), now: allocated, held: map[string][]ipam.Registration{}, disks: map[string]*registry.Snapshot{},
		sees: map[string]int{}, wrote: map[string]int{}, cut: map[string]bool{}, owner: map[netip.Prefix]string{}, until: map[netip.Prefix]time.Time{},
	}
	first := map[string]*gridstore.Node{}
	var names []string
	for i := range 66 {
		name := fmt.Sprintf("n%d", i)
		if i < 2 {
			name = fmt.Sprintf("gw%d", i+1)
			for n := range 255 { // small prefixes, each a block of 15
				p := pfx(fmt.Sprintf("2001:db8:%d:%x0::/60", i+1, n))
				g.held[name] = append(g.held[name], ipam.Registration{Prefix: p, Holder: name, Registered: allocated})
			}
		}
		names = append(names, name)
		first[name] = &gridstore.Node{Name: name, Holding: ipam.Holding{Holder: name}, Admitted: &gridstore.Admission{}}
		g.disks[name] = &registry.Snapshot{}
	}
	g.versions = append(g.versions, first)
	steps := 0
	for ; steps < 3000 || g.given < enough && steps < 30000; steps++ {
		name := names[g.random.IntN(len(names))]
		if g.random.IntN(4) == 0 {
			name = names[g.random.IntN(2)] // holders have more to do
		}
		switch g.random.IntN(12) {
		case 0:
			g.cut[name] = g.random.IntN(5) == 0
		case 1:
			g.now = g.now.Add(time.Duration(g.random.IntN(40)) * time.Minute)
		case 2:
			all := g.random.IntN(2) == 0
			for n := range networksOfNode {
				if all || g.random.IntN(2) == 0 {
					g.end(name, fmt.Sprintf("net%d", n))
				}
			}
		case 3, 4:
			for range g.random.IntN(networksOfNode) {
				g.make(name, fmt.Sprintf("net%d", g.random.IntN(networksOfNode)))
			}
		default:
			_ = g.settle(name) // killed, or cut off
		}
	}
	if g.given < enough {
		t.Errorf("only %d blocks went back: too few to say anything", g.given)
	}
	t.Logf("%d blocks went back in %d steps, %d versions", g.given, steps, len(g.versions))
	gone := map[string]bool{"n60": true, "n61": true}
	g.finish(names, gone)
	g.agree(names, gone)
}

// finish ends all networks but those of the nodes that are gone, and lets everybody
// settle until nothing changes any more.
func (g *chaosGrid) finish(names []string, gone map[string]bool) {
	clear(g.cut)
	g.calm = true
	for name := range gone {
		g.cut[name] = true
	}
	for round, quiet := 0, 0; quiet < 30; round++ {
		if round > 300 {
			g.t.Fatal("it does not become quiet")
		}
		before := len(g.versions)
		for _, name := range names {
			if gone[name] {
				continue
			}
			for n := range networksOfNode {
				g.end(name, fmt.Sprintf("net%d", n))
			}
			_ = g.settle(name)
		}
		g.now = g.now.Add(10 * time.Minute)
		if quiet++; len(g.versions) > before {
			quiet = 0
		}
	}
}

func (g *chaosGrid) agree(names []string, gone map[string]bool) {
	last := g.versions[len(g.versions)-1]
	delegated := map[netip.Prefix]string{}
	for _, n := range last {
		for block, d := range n.Holding.Blocks {
			if d.Owned() {
				delegated[block] = d.Node
			}
		}
	}
	for _, name := range names {
		blocks := g.disks[name].Blocks
		if len(blocks) > 5 && !gone[name] {
			g.t.Errorf("%s, which has no network, keeps %d blocks: %v", name, len(blocks), blocks)
		}
		for _, b := range blocks {
			if gone[name] && b.GivenBack {
				continue // its holder may have it already
			}
			if delegated[b.Block] != name || b.GivenBack {
				g.t.Errorf("%s has %+v, which is %q's", name, b, delegated[b.Block])
			}
			delete(delegated, b.Block)
		}
	}
	for block, name := range delegated {
		if !gone[name] {
			g.t.Errorf("%v is %s's for ever", block, name)
		}
	}
}
