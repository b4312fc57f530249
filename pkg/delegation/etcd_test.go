package delegation

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
	"github.com/zosnet/zosnet/pkg/spec"
	"github.com/zosnet/zosnet/pkg/trust"
)

// etcdGrid is a grid of one member, on the loopback, with a protected etcd; of its nodes
// there is only what this package is.
type etcdGrid struct {
	t      *testing.T
	ca     *trust.CA
	roots  *trust.Roots
	at     netip.AddrPort // where the member serves
	root   gridstore.Root
	nodes  []*etcdNode
	passed time.Duration // how far the clock of all of them is ahead
}

type etcdNode struct {
	*Space
	file     atomic.Pointer[spec.Node] // node.yaml
	key      *trust.NodeKey
	pem      []byte
	identity *trust.Identity
	client   *gridstore.Client
	err      error // of its last settling
}

// newEtcdGrid makes a grid whose first node, the member, holds these prefixes.
func newEtcdGrid(t *testing.T, names []string, prefixes ...string) *etcdGrid {
	t.Helper()
	g := &etcdGrid{t: t}
	var err error
	g.ca, err = trust.NewCA(time.Now())
	g.ok(err)
	g.roots, err = trust.ParseRoots(g.ca.CertificatePEM())
	g.ok(err)
	for i, name := range names {
		g.add(i, name)
	}
	g.nodes[0].file.Store(&spec.Node{Name: names[0], Prefixes: pfxs(prefixes...)})
	g.serve()
	for i, n := range g.nodes {
		g.open(i, n)
	}
	return g
}

func (g *etcdGrid) ok(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

func address(i int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("fd00:7a6f::%d", i+1)) }

func (g *etcdGrid) request(i int) *trust.Request {
	n := g.nodes[i]
	raw, err := n.key.Request(n.node().Name, [32]byte{byte(i + 1)})
	g.ok(err)
	request, err := trust.ParseRequest(raw)
	g.ok(err)
	return request
}

// add makes a node: its own registry and its keys.
func (g *etcdGrid) add(i int, name string) {
	log := slog.New(slog.DiscardHandler)
	store, err := registry.Open(g.t.Context(), g.t.TempDir(), log)
	g.ok(err)
	g.t.Cleanup(func() { g.closed(store.Close()) })
	n := &etcdNode{}
	n.file.Store(&spec.Node{Name: name})
	n.Space = New(Config{
		Node: n.file.Load, Store: store, Change: &sync.Mutex{}, Log: log,
		InGrid: func() bool { return true }, Grid: func() *gridstore.Client { return n.client }, Uplinks: func() []string { return nil },
	})
	g.nodes = append(g.nodes, n)
	n.key, err = trust.NewNodeKey()
	g.ok(err)
	n.pem, err = g.ca.Issue(g.request(i), address(i), time.Now())
	g.ok(err)
	n.identity, err = g.roots.Identity(name, n.pem)
	g.ok(err)
}

func (g *etcdGrid) closed(err error) {
	if err != nil {
		g.t.Error(err)
	}
}

// serve starts the first node's member.
func (g *etcdGrid) serve() {
	g.t.Helper()
	dir := g.t.TempDir()
	file := func(name string, text []byte, err error) string {
		g.ok(err)
		path := filepath.Join(dir, name)
		g.ok(os.WriteFile(path, text, 0o600))
		return path
	}
	certificate, err := g.ca.IssueMember(g.request(0), netip.IPv6Loopback(), time.Now())
	cfg := registry.MemberConfig{Name: g.nodes[0].node().Name, Dir: filepath.Join(dir, "etcd"), CertFile: file("cert.pem", certificate, err)}
	key, err := g.nodes[0].key.PEM()
	cfg.KeyFile, cfg.CAFile = file("key.pem", key, err), file("ca.pem", g.ca.CertificatePEM(), nil)
	g.at, cfg.Peer = g.free(), g.free()
	cfg.Client = g.at
	m, err := registry.StartMember(g.t.Context(), cfg, slog.New(slog.DiscardHandler))
	g.ok(err)
	g.t.Cleanup(func() { g.closed(m.Close()) })
	select {
	case <-m.Ready():
	case <-time.After(time.Minute):
		g.t.Fatalf("the member does not serve: %v", m.Err())
	}
	g.root = m.AsRoot
	g.ok(g.root.Protect(g.t.Context()))
	g.ok(g.root.PutMember(g.t.Context(), cfg.Name, g.at, nil))
}

// free gives a port of the loopback that nobody has.
func (g *etcdGrid) free() netip.AddrPort {
	l, err := net.Listen("tcp", "[::1]:0")
	g.ok(err)
	defer func() { g.closed(l.Close()) }()
	return netip.MustParseAddrPort(l.Addr().String())
}

// open lets a node in and opens its client.
func (g *etcdGrid) open(i int, n *etcdNode) {
	g.t.Helper()
	name := n.node().Name
	g.ok(g.root.Admit(g.t.Context(), gridstore.Admission{
		Node: name, Address: address(i), ControlKey: n.identity.ControlKey, Admitted: time.Now(),
	}, n.pem, "", nil))
	certificate, err := n.key.TLS(n.pem)
	g.ok(err)
	n.client, err = gridstore.Open(gridstore.Config{
		Node: name, Endpoints: []string{"https://" + g.at.String()}, Key: n.key, Identity: n.identity, Roots: g.roots,
		TLS: &tls.Config{Certificates: []tls.Certificate{certificate}, RootCAs: g.roots.Pool(), ServerName: trust.MemberHostname},
		Log: slog.New(slog.DiscardHandler),
	})
	g.ok(err)
	g.t.Cleanup(func() { g.closed(n.client.Close()) })
}

// until settles nodes again and again until it is as it should be.
func (g *etcdGrid) until(what string, nodes []*etcdNode, is func() bool) {
	g.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		for _, n := range nodes {
			n.err = n.Settle(g.t.Context(), n.client, time.Now().Add(g.passed))
		}
		if is() {
			return
		}
		if time.Now().After(deadline) {
			for _, n := range g.nodes {
				g.t.Logf("%s: %v, %+v", n.node().Name, n.err, n.local().Blocks)
			}
			g.t.Fatalf("%s: not in time", what)
		}
	}
}

func (n *etcdNode) local() registry.Snapshot {
	local, err := n.store.Snapshot(context.Background())
	if err != nil {
		panic(err)
	}
	return local
}

// uses gives the blocks that the node gives /64s from.
func (n *etcdNode) uses() []netip.Prefix { return blocksOf(inUse(n.node(), n.local())) }

// apply makes networks on a node, in one step.
func (n *etcdNode) apply(ctx context.Context, first, last int) error {
	var documents []registry.NetworkDocument
	for i := first; i < last; i++ {
		name := fmt.Sprintf("net%d", i)
		documents = append(documents, registry.NetworkDocument{Name: name, File: name + ".yaml", Document: []byte("network: " + name + "\n")})
	}
	node := n.Giving(n.local())
	_, err := n.store.PutNetworks(ctx, node.Name, node.Prefixes, documents)
	return n.Exhausted(err)
}

// TestBlocksComeAndGo: with a real registry, a node grows until the holder has nothing
// left, and whoever comes then is told who has it; what it does not need any more goes
// back, rests, and another node gets it.
func TestBlocksComeAndGo(t *testing.T) {
	var prefixes []string
	for i := range 10 {
		prefixes = append(prefixes, fmt.Sprintf("2001:db8:0:%x0::/60", i)) // a block of 15 each
	}
	g := newEtcdGrid(t, []string{"gw1", "n1", "n2"}, prefixes...)
	gw1, n1, n2 := g.nodes[0], g.nodes[1], g.nodes[2]
	two := []*etcdNode{gw1, n1}
	g.until("n1 has blocks", two, func() bool { return len(n1.uses()) >= 3 })
	for first := 0; first < 60; first += 10 {
		g.ok(n1.apply(t.Context(), first, first+10))
		g.until("n1 has room", two, func() bool { return len(n1.uses()) >= min(7, (first+10+32+14)/15) })
	}
	g.until("all is given", two, func() bool { return len(n1.uses()) == 7 && len(gw1.uses()) == 3 })
	g.until("n2 is told who has it", g.nodes, func() bool { return n2.err != nil })
	for _, want := range []string{"none is free", "n1 has 7 blocks, 70.0 %", "gw1 has 3 blocks, 30.0 %", "register another prefix"} {
		if !strings.Contains(n2.err.Error(), want) {
			t.Errorf("n2 is not told %q: %v", want, n2.err)
		}
	}
	err := n1.apply(t.Context(), 100, 146)
	for _, want := range []string{`a /64 for network "net145"`, "all 105 are used: 105 by networks (net0, ", "none is free: n1 has 7 blocks, 70.0 %"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("who makes a network too many is not told %q: %v", want, err)
		}
	}
	grown := n1.uses()
	for i := range 60 {
		g.ok(n1.store.DeleteNetwork(t.Context(), fmt.Sprintf("net%d", i), false))
	}
	for range 5 {
		g.ok(n1.Settle(t.Context(), n1.client, time.Now()))
	}
	if len(n1.uses()) != 7 {
		t.Errorf("while its /64s rest n1 has only %v", n1.uses())
	}
	g.passed = ipam.Rest + time.Minute
	g.until("n1 gives back what it does not need", g.nodes, func() bool { return len(n1.local().Blocks) == 5 && len(n1.uses()) == 5 })
	if !strings.Contains(n2.err.Error(), "2 blocks, 20.0 % were released but rest") {
		t.Errorf("n2 is told: %v", n2.err)
	}
	if request := n1.client.Snapshot().Nodes["n1"].Request; request.Blocks != 5 {
		t.Errorf("n1 asks for %+v", request)
	}
	g.passed += ipam.Rest + time.Minute
	g.until("n2 has what n1 gave back", g.nodes, func() bool { return len(n2.uses()) == 2 })
	for _, block := range n2.uses() {
		if !slices.Contains(grown, block) || slices.Contains(n1.uses(), block) {
			t.Errorf("n2 has %v, n1 had %v and has %v", block, grown, n1.uses())
		}
	}
	g.until("the request names nothing any more", two, func() bool { return len(n1.client.Snapshot().Nodes["n1"].Request.Release) == 0 })
	g.ok(n2.apply(t.Context(), 0, 1))
	if networks := n2.local().Networks; len(networks) != 1 || !slices.ContainsFunc(grown, func(p netip.Prefix) bool { return p.Contains(networks[0].Prefix.Addr()) }) {
		t.Errorf("n2 has %+v", networks)
	}

	// What is taken out of the grid for good is not its own any more.
	g.ok(g.root.Expel(t.Context(), "n1"))
	g.until("n1's blocks rest", []*etcdNode{gw1}, func() bool { return len(gw1.client.Snapshot().Nodes["gw1"].Holding.Of("n1")) == 0 })
	var out bytes.Buffer
	for block, d := range gw1.client.Snapshot().Nodes["gw1"].Holding.Blocks {
		if d.Node == "n1" && d.Until.Before(time.Now().Add(g.passed+ipam.Rest/2)) {
			fmt.Fprintln(&out, block, d)
		}
	}
	if out.Len() > 0 {
		t.Errorf("of n1, which was taken out, do not rest: %s", out.String())
	}
	g.passed += ipam.Rest + time.Minute
	before := len(n2.uses())
	g.ok(n2.apply(t.Context(), 1, 20))
	g.until("n2 has blocks that were n1's", []*etcdNode{gw1, n2}, func() bool { return len(n2.uses()) > before })
}

// TestReleaseByForce: what is used is not given up unless by force; then nobody gets it
// for an hour, and who has a network in it is told.
func TestReleaseByForce(t *testing.T) {
	g := newEtcdGrid(t, []string{"gw1", "gw2", "n1"})
	gw1, gw2, n1 := g.nodes[0], g.nodes[1], g.nodes[2]
	p, block := pfx("2001:db8::/55"), pfx("2001:db8:0:100::/56")
	release := func(n *etcdNode, force bool, want ...string) map[netip.Prefix]string {
		t.Helper()
		taken, err := n.Release(t.Context(), n.client, p, force)
		if (err == nil) != (len(want) == 0) {
			t.Errorf("release by %s: %v", n.node().Name, err)
		}
		for _, text := range want {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("release by %s: %v; want %q", n.node().Name, err, text)
			}
		}
		return taken
	}
	g.ok(gw1.Register(t.Context(), gw1.client, ipam.Registration{Prefix: p, Source: "LIR"}))
	g.until("n1 has a block", []*etcdNode{gw1, n1}, func() bool { return len(n1.uses()) == 1 && len(gw1.uses()) == 1 })
	g.ok(n1.apply(t.Context(), 0, 1))
	release(gw1, false, "still used: "+block.String()+" by n1;", "zosnet prefix release 2001:db8::/55 --force")
	if local := gw1.local(); len(local.Registrations) != 1 || len(local.Blocks) != 1 {
		t.Errorf("what was not released is lost: %+v, %+v", local.Registrations, local.Blocks)
	}
	if taken := release(gw1, true); len(taken) != 1 || taken[block] != "n1" {
		t.Errorf("taken from others: %v", taken)
	}
	g.until("n1 has it no more", g.nodes, func() bool { return len(n1.local().Blocks) == 0 })
	if local := gw1.local(); len(local.Registrations)+len(local.Blocks) != 0 {
		t.Errorf("what was released is still there: %+v, %+v", local.Registrations, local.Blocks)
	}
	told := n1.Stranded(n1.local())
	if len(told) != 1 || !strings.Contains(told[0], "network net0 has 2001:db8:0:101::/64, which is in no block of this node any more") {
		t.Errorf("n1 says: %v", told)
	}
	release(gw1, true, "holds no such prefix")

	err := gw2.Register(t.Context(), gw2.client, ipam.Registration{Prefix: p})
	if err == nil || !strings.Contains(err.Error(), "was released by node gw1 and rests until") {
		t.Errorf("gw2 registers what rests: %v", err)
	}
	gw2.file.Store(&spec.Node{Name: "gw2", Prefixes: []netip.Prefix{p}})
	g.until("gw2 is told that it rests", []*etcdNode{gw2}, func() bool { return gw2.err != nil && strings.Contains(gw2.err.Error(), "rests until") })
	g.passed = ipam.Rest + time.Minute
	g.until("gw2 gives n1 a block", []*etcdNode{gw2, n1}, func() bool { return len(gw2.uses()) == 1 && len(n1.uses()) == 1 })
	g.ok(n1.apply(t.Context(), 1, 2))
	if second := n1.local().Networks[1]; second.Prefix != pfx("2001:db8:0:102::/64") {
		t.Errorf("the next network has %s; net0 has 2001:db8:0:101::/64 still", second.Prefix)
	}

	gw2.file.Store(&spec.Node{Name: "gw2"})
	g.until("gw2 is told who uses it", []*etcdNode{gw2}, func() bool {
		return gw2.err != nil && strings.Contains(gw2.err.Error(), "zosnet prefix release 2001:db8::/55 --force")
	})
	release(gw2, false, "still used")
	if taken := release(gw2, true); taken[block] != "n1" {
		t.Errorf("taken from others: %v", taken)
	}
	g.until("nobody holds anything", []*etcdNode{gw2, n1}, func() bool { return len(n1.local().Blocks)+len(gw2.local().Blocks) == 0 })
}

// TestRegisterTogether: of two nodes whose node.yaml names the same prefix one has it,
// and the other says who.
func TestRegisterTogether(t *testing.T) {
	g := newEtcdGrid(t, []string{"gw1", "gw2"})
	for _, n := range g.nodes {
		n.file.Store(&spec.Node{Name: n.node().Name, Prefixes: pfxs("2001:db8::/48")})
	}
	var wait sync.WaitGroup
	for _, n := range g.nodes {
		wait.Go(func() {
			select {
			case <-n.client.Complete():
			case <-t.Context().Done():
			}
			n.err = n.Settle(t.Context(), n.client, time.Now())
		})
	}
	wait.Wait()
	won, lost := g.nodes[0], g.nodes[1]
	if won.err != nil {
		won, lost = lost, won
	}
	if name := won.node().Name; won.err != nil || lost.err == nil || !strings.Contains(lost.err.Error(), "overlaps 2001:db8::/48, which node "+name+" holds") {
		t.Errorf("%s: %v; %s: %v", name, won.err, lost.node().Name, lost.err)
	}
	g.until("the one has a block", g.nodes, func() bool { return len(won.uses()) > 0 })
	g.until("the other gets one of its", g.nodes, func() bool { return len(lost.uses()) > 0 && lost.err != nil })
}
