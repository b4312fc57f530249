package daemon

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
	"github.com/zosnet/zosnet/pkg/spec"
	"github.com/zosnet/zosnet/pkg/wireguard"
)

// rotor is a node of network acme with everything of it that changes keys, and for its
// kernel the overlays that were planned last.
type rotor struct {
	t      *testing.T
	node   *spec.Node
	prefix netip.Prefix
	dir    string
	grid   *membership
	away   bool // its machine is off
	heard  map[string]*gridstore.Part
	view   view
}

// rotors is a network of nodes, and what they have published.
type rotors struct {
	t         *testing.T
	document  *spec.Network
	published map[string]*gridstore.Part
	list      []*rotor
	talked    map[[2]string]bool // who could send to whom when that was last looked at
}

func newRotors(t *testing.T, count int) *rotors {
	t.Helper()
	names := make([]string, count)
	for i := range names {
		names[i] = fmt.Sprintf("n%d", i+1)
	}
	document, _, err := spec.DecodeNetwork("acme.yaml", fmt.Appendf(nil, "network: acme\nnodes: %s\nservices: {web: {}}\n", "["+join(names)+"]"))
	if err != nil {
		t.Fatal(err)
	}
	r := &rotors{t: t, document: document, published: map[string]*gridstore.Part{}, talked: map[[2]string]bool{}}
	for i, name := range names {
		n := &rotor{t: t, dir: t.TempDir(), prefix: netip.MustParsePrefix(fmt.Sprintf("2001:db8:%x::/64", i+1)),
			node: &spec.Node{Name: name, Endpoint: netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})}}
		n.restart()
		r.list = append(r.list, n)
	}
	for range 2 {
		for _, n := range r.list {
			r.enforce(n)
			r.publish(n)
		}
		for _, n := range r.list {
			r.hear(n)
		}
	}
	r.check("at first")
	return r
}

func join(names []string) (text string) {
	for i, name := range names {
		if i > 0 {
			text += ", "
		}
		text += name
	}
	return text
}

// restart is a daemon that is killed and starts again: its files and the kernel stay.
func (n *rotor) restart() {
	n.t.Helper()
	grid, err := openMembership(n.dir)
	if err != nil {
		n.t.Fatal(err)
	}
	n.grid = grid
}

// hear brings a node what is published now; until then it knows what it knew.
func (r *rotors) hear(n *rotor) { n.heard = maps.Clone(r.published) }

// enforce plans as the daemon does, from keys, registry and sessions.
func (r *rotors) enforce(n *rotor) {
	r.t.Helper()
	have, err := n.grid.generations()
	if err != nil {
		r.t.Fatal(err)
	}
	own, err := n.grid.withKeys(plan.Part{Network: "acme", Node: n.node.Name, Prefix: n.prefix}, have["acme"], n.heard, makeKeys)
	if err != nil {
		r.t.Fatal(err)
	}
	parts := []plan.Part{own}
	if err := givePorts(parts, n.node.Name); err != nil {
		r.t.Fatal(err)
	}
	in := plan.Input{
		Node: n.node, FlowSets: 1 << 18, FlowShares: 6, Sessions: r.sessions(n),
		Networks: []plan.Record{{Document: r.document, ID: 1, Prefix: n.prefix, Services: map[string]uint32{"web": 1}}},
	}
	for _, other := range r.list {
		if part := n.heard[other.node.Name]; part != nil && other != n {
			in.Nodes = append(in.Nodes, plan.Node{Name: other.node.Name, Endpoint: other.node.Endpoint, Blocks: []netip.Prefix{other.prefix}})
			parts = append(parts, partOf("acme", other.node.Name, part, n.node.Name))
		}
	}
	in.Parts = parts
	state, err := plan.Compute(in)
	if err != nil {
		r.t.Fatal(err)
	}
	n.view = view{node: n.node.Name, input: in, state: state, overlays: state.Overlays}
}

func (r *rotors) publish(n *rotor) {
	p := publisher{node: n.node, sends: n.view.sends()}
	part := p.partOf(n.view.parts()[0])
	r.published[n.node.Name] = &part
}

// end gives up what nobody needs any more, Linger later.
func (r *rotors) end(n *rotor) {
	r.t.Helper()
	for _, o := range n.view.overlays {
		if o.Heir == "" || len(o.Needed) > 0 {
			continue
		}
		name := wireguard.KeyName(o.Network, o.Generation)
		n.grid.giveUp(name)
		r.enforce(n)
		if err := n.grid.forget(name); err != nil {
			r.t.Fatal(err)
		}
		return
	}
}

// begin is `zosnet keys rotate` on a node, where none is under way.
func (r *rotors) begin(n *rotor) {
	r.t.Helper()
	if p := n.view.parts()[0]; p.Next == nil {
		if _, err := n.grid.keys.Make(wireguard.KeyName("acme", p.Generation.Next())); err != nil {
			r.t.Fatal(err)
		}
	}
}

// overdue makes a node's present change a day old.
func (r *rotors) overdue(n *rotor) {
	r.t.Helper()
	files, err := filepath.Glob(filepath.Join(n.dir, "overlays", "*"))
	if err != nil {
		r.t.Fatal(err)
	}
	long := time.Now().Add(-2 * overdue)
	for _, file := range files {
		if err := os.Chtimes(file, long, long); err != nil {
			r.t.Fatal(err)
		}
	}
}

// device gives the overlay with a key, and its peer of another.
func (n *rotor) device(own, other [32]byte) (plan.Overlay, bool) {
	for _, o := range n.view.overlays {
		if o.PublicKey == own && slices.ContainsFunc(o.Peers, func(p plan.Peer) bool { return p.PublicKey == other }) {
			return o, true
		}
	}
	return plan.Overlay{}, false
}

func (r *rotors) of(name string) *rotor {
	return r.list[slices.IndexFunc(r.list, func(n *rotor) bool { return n.node.Name == name })]
}

// sessions gives those that a node has: both ends must have each other's key.
func (r *rotors) sessions(n *rotor) (list []plan.Session) {
	for _, o := range n.view.overlays {
		for _, p := range o.Peers {
			other := r.of(p.Node)
			_, both := other.device(p.PublicKey, o.PublicKey)
			list = append(list, plan.Session{Interface: o.Interface, PublicKey: p.PublicKey, Established: both && !other.away && !n.away})
		}
	}
	return list
}

// check says that who could send to a node still can: the way that its kernel takes
// leads to a device of the other, which knows it.
func (r *rotors) check(after string) {
	r.t.Helper()
	for _, n := range r.list {
		for _, other := range r.list {
			pair := [2]string{n.node.Name, other.node.Name}
			if n == other || n.away || other.away {
				delete(r.talked, pair)
				continue
			}
			ways := 0
			for _, o := range n.view.overlays {
				for _, p := range o.Peers {
					if p.Node == other.node.Name && !p.Standby {
						if _, known := other.device(p.PublicKey, o.PublicKey); known {
							ways++
						}
					}
				}
			}
			if r.talked[pair] && ways != 1 {
				r.t.Fatalf("%s: %s has %d ways to %s:\n%+v\n%+v", after, pair[0], ways, pair[1], n.view.overlays, other.view.overlays)
			}
			r.talked[pair] = ways == 1
		}
	}
}

// settle lets everybody who is there do everything until nothing changes.
func (r *rotors) settle() {
	r.t.Helper()
	for range 30 {
		for _, n := range r.list {
			if !n.away {
				r.hear(n)
				r.enforce(n)
				r.publish(n)
				r.check("settling " + n.node.Name)
				r.end(n)
				r.check("settling " + n.node.Name + ", its end")
			}
		}
	}
}

// settled says that everybody who is there has one key, of one generation, that all
// are reached, and that no other private key is kept.
func (r *rotors) settled(wait bool) {
	r.t.Helper()
	var g *wireguard.Generation
	for _, n := range r.list {
		if n.away {
			continue
		}
		own := n.view.parts()[0]
		if g == nil {
			g = &own.Generation
		}
		if (own.Next != nil) != wait || own.Generation != *g {
			r.t.Errorf("%s is at %d, next %+v; others at %d", n.node.Name, own.Generation, own.Next, *g)
		}
		files, err := filepath.Glob(filepath.Join(n.dir, "overlays", "*"))
		if want := len(n.view.overlays); err != nil || len(files) != want {
			r.t.Errorf("%s keeps the keys %v, %v", n.node.Name, files, err)
		}
		for _, other := range r.list {
			if other != n && !other.away && !r.talked[[2]string{n.node.Name, other.node.Name}] {
				r.t.Errorf("%s does not reach %s", n.node.Name, other.node.Name)
			}
		}
	}
}

// TestRotationInAnyOrder: nodes change keys, hear of each other, plan, publish and
// start again in any order; nobody who reached another ever stops to, and at the end
// all have new keys and nothing of the old ones.
func TestRotationInAnyOrder(t *testing.T) {
	for seed := range uint64(24) {
		random := rand.New(rand.NewPCG(seed, 1))
		r := newRotors(t, 2+int(seed%3))
		before := r.list[0].view.parts()[0].PublicKey
		r.begin(r.list[random.IntN(len(r.list))])
		for step := range 150 {
			n := r.list[random.IntN(len(r.list))]
			does := []struct {
				name string
				do   func(*rotor)
			}{
				{"hears", r.hear}, {"plans", r.enforce}, {"publishes", r.publish}, {"ends", r.end},
				{"starts again", (*rotor).restart}, {"hears", r.hear}, {"plans", r.enforce}, {"publishes", r.publish}, {"begins", r.begin},
			}
			what := does[random.IntN(len(does)-step/75)] // at first also new ones begin
			what.do(n)
			r.check(fmt.Sprintf("seed %d, step %d: %s %s", seed, step, n.node.Name, what.name))
		}
		r.settle()
		r.settled(false)
		if r.list[0].view.parts()[0].PublicKey == before {
			t.Errorf("seed %d: the key is the same as before", seed)
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// TestRotationWithoutOneNode: one that is away holds the old key for a day, and nothing
// else; when it comes back, whatever it missed, it has the others' generation.
func TestRotationWithoutOneNode(t *testing.T) {
	for missed := 1; missed <= 3; missed++ {
		t.Run(fmt.Sprintf("it misses %d changes", missed), func(t *testing.T) {
			r := newRotors(t, 3)
			gone := r.list[2]
			gone.away = true
			for change := range missed {
				r.begin(r.list[0])
				r.settle()
				r.settled(change == 0) // of later ones n3 has neither key
				for _, n := range r.list[:2] {
					if needed := n.view.overlays[0].Needed; change == 0 && !slices.Equal(needed, []string{"n3"}) {
						t.Errorf("%s waits for %v, want n3", n.node.Name, needed)
					}
					r.overdue(n)
				}
				r.settle()
				r.settled(false)
			}
			gone.away = false
			r.settle()
			r.settled(false)
		})
	}
}

// TestRotationCutShort: one goes in the midst of a change, and comes back after others
// have been through it and the next.
func TestRotationCutShort(t *testing.T) {
	r := newRotors(t, 3)
	gone := r.list[2]
	r.begin(gone)
	r.enforce(gone)
	r.publish(gone)
	for _, n := range r.list[:2] {
		r.hear(n)
		r.enforce(n)
		r.publish(n)
	}
	gone.away = true
	for range 2 {
		r.settle()
		for _, n := range r.list[:2] {
			r.overdue(n)
		}
		r.settle()
		r.settled(false)
		r.begin(r.list[1])
	}
	gone.away = false
	gone.restart()
	r.settle()
	r.settled(false)
}

// TestLateComer: a node that comes into a network takes the generation that it has.
func TestLateComer(t *testing.T) {
	r := newRotors(t, 3)
	late := r.list[2]
	delete(r.published, "n3")
	late.dir, late.away, late.heard = t.TempDir(), true, nil
	late.restart()
	for _, n := range r.list[:2] {
		r.hear(n)
		r.enforce(n)
	}
	r.begin(r.list[0])
	r.settle()
	r.settled(false)
	late.away = false
	r.settle()
	r.settled(false)
	if g := late.view.parts()[0].Generation; g != 1 {
		t.Errorf("it is at %d", g)
	}
}

// TestPortsApart: no two keys of a node have one port, and what was published stays.
func TestPortsApart(t *testing.T) {
	var parts []plan.Part
	for i := range 300 {
		p := plan.Part{Network: fmt.Sprintf("net%d", i)}
		if i%2 == 0 {
			p.Next = &plan.Successor{Generation: 1}
		}
		parts = append(parts, p)
	}
	first, err := wireguard.Port("net7", "n1", func(uint16) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	parts[250].Port, parts[250].Next.Port = first, first+1
	if err := givePorts(parts, "n1"); err != nil {
		t.Fatal(err)
	}
	taken := map[uint16]string{}
	for _, p := range parts {
		ports := []uint16{p.Port}
		if p.Next != nil {
			ports = append(ports, p.Next.Port)
		}
		for _, port := range ports {
			if by := taken[port]; by != "" || port == 0 {
				t.Errorf("port %d is that of %s and of %q", port, p.Network, by)
			}
			taken[port] = p.Network
		}
	}
	if parts[250].Port != first || parts[250].Next.Port != first+1 {
		t.Errorf("published were %d and %d, given %d and %d", first, first+1, parts[250].Port, parts[250].Next.Port)
	}
}
