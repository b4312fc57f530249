package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
	"github.com/zosnet/zosnet/pkg/trust"
)

const (
	clientPort = 2379
	peerPort   = 2380
	// atOnce bounds what is under way at one time while the grid is made.
	atOnce = 32
)

// grid is what is simulated.
type grid struct {
	options
	dir      string
	ca       *trust.CA
	roots    *trust.Roots
	owner    *trust.OwnerKey
	member   *member
	nodes    []*node
	networks []*network
	texts    texts
	tell     func(format string, args ...any)
}

// network is one network as its owner knows it.
type network struct {
	name     string
	nodes    []*node
	mu       sync.Mutex
	revision uint64
	change   *change // that is under way; nil: none
}

// serverAddress is the member's control address.
var serverAddress = netip.MustParseAddr("fd00:7a6f::1")

func newGrid(o options, dir string, tell func(string, ...any)) (*grid, error) {
	if o.nodes < o.span || o.span < 2 || o.networks < 1 || o.nodes > 1<<14 {
		return nil, fmt.Errorf("%d networks over %d nodes each of %d: want at least 2 nodes each, and no more than there are", o.networks, o.span, o.nodes)
	}
	g := &grid{options: o, dir: dir, tell: tell}
	var err error
	if g.ca, err = trust.NewCA(time.Now()); err != nil {
		return nil, err
	}
	if g.roots, err = trust.ParseRoots(g.ca.CertificatePEM()); err != nil {
		return nil, err
	}
	if g.owner, err = trust.NewOwnerKey(); err != nil {
		return nil, err
	}
	g.nodes = make([]*node, o.nodes)
	for i := range g.nodes {
		g.nodes[i] = &node{grid: g, index: i, name: fmt.Sprintf("n%d", i+1),
			ids: map[string]uint32{}, services: map[string]map[string]uint32{}, planned: map[string]uint64{}}
	}
	for _, n := range g.nodes {
		if err := n.certify(); err != nil {
			return nil, err
		}
	}
	// The same at each run, and no two networks alike.
	random := rand.New(rand.NewPCG(1, 2))
	for i := range o.networks {
		n := &network{name: fmt.Sprintf("net-%d", i)}
		for _, at := range random.Perm(o.nodes)[:o.span] {
			n.nodes = append(n.nodes, g.nodes[at])
		}
		g.networks = append(g.networks, n)
	}
	return g, nil
}

// start brings up the registry and lets every node in.
func (g *grid) start() error {
	if err := setUpLoopback(); err != nil {
		return err
	}
	first := g.nodes[0]
	request, err := first.request()
	if err != nil {
		return err
	}
	pem, err := g.ca.IssueMember(request, serverAddress, time.Now())
	if err != nil {
		return err
	}
	key, err := first.key.PEM()
	if err != nil {
		return err
	}
	cfg := registry.MemberConfig{Name: first.name, Dir: filepath.Join(g.dir, "etcd"),
		Client: netip.AddrPortFrom(serverAddress, clientPort), Peer: netip.AddrPortFrom(serverAddress, peerPort),
		CertFile: filepath.Join(g.dir, "cert.pem"), KeyFile: filepath.Join(g.dir, "key.pem"), CAFile: filepath.Join(g.dir, "ca.pem")}
	for file, text := range map[string][]byte{cfg.CertFile: pem, cfg.KeyFile: key, cfg.CAFile: g.ca.CertificatePEM()} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			return err
		}
	}
	if g.member, err = startMember(cfg); err != nil {
		return err
	}
	if _, err := g.member.ask(order{Protect: true}); err != nil {
		return err
	}
	var all []admission
	for _, n := range g.nodes {
		all = append(all, admission{n.admission(), n.pem})
	}
	if _, err := g.member.ask(order{Admit: all}); err != nil {
		return err
	}
	_, err = g.member.ask(order{Member: &memberAddress{first.name, cfg.Client}})
	return err
}

// setUpLoopback gives the namespace's loopback the member's address.
func setUpLoopback() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("look for the loopback interface: %w", err)
	}
	address, err := netlink.ParseAddr(serverAddress.String() + "/128")
	if err != nil {
		return err
	}
	address.Flags = unix.IFA_F_NODAD // can be used at once
	if err := netlink.AddrReplace(lo, address); err != nil {
		return fmt.Errorf("give the loopback interface %s: %w", address, err)
	}
	return netlink.LinkSetUp(lo)
}

// each does something with every node, many at once.
func (g *grid) each(ctx context.Context, do func(context.Context, *node) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, n := range g.nodes {
		group.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := do(ctx, n); err != nil {
				return fmt.Errorf("node %s: %w", n.name, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// next signs a network's next revision.
func (g *grid) next(n *network) (gridstore.Document, error) {
	n.mu.Lock()
	n.revision++
	revision := n.revision
	n.mu.Unlock()
	signed, err := g.owner.Sign(n.name, revision, n.text(revision))
	d := gridstore.Document{Document: signed, File: n.name + ".yaml"}
	for _, one := range n.nodes {
		d.Nodes = append(d.Nodes, one.name)
	}
	slices.Sort(d.Nodes)
	return d, err
}

// apply has a node store a network's next revision, as zosnet apply does.
func (g *grid) apply(ctx context.Context, n *network, at *node) error {
	d, err := g.next(n)
	if err != nil {
		return err
	}
	return at.client.PutDocument(ctx, d)
}

// text is a document of the usual length, with a rule that each revision changes.
func (n *network) text(revision uint64) string {
	text := "network: " + n.name + "\nnodes: ["
	for i, one := range n.nodes {
		if i > 0 {
			text += ", "
		}
		text += one.name
	}
	return text + fmt.Sprintf(`]
default: {inside: allow, inbound: deny, outbound: allow}
services:
  web: {ports: [tcp/80, tcp/443]}
  db:  {ports: [tcp/5432]}
rules:
  - allow: {from: web, to: db, ports: [tcp/5432]}
  - deny:  {from: inside, to: db, log: true}
  - deny:  {from: inside, to: outside, ports: [tcp/25]}
  - allow: {from: 2001:db8:77::/48, to: web, ports: [tcp/%d, icmpv6/echo-request]}
expose:
  - {service: web, ports: [tcp/443]}
`, 8000+revision%1000)
}

// stop takes the grid down: the member first, else each node of a network would hear of
// every other one's end.
func (g *grid) stop() (err error) {
	if g.member != nil {
		err = g.member.kill()
	}
	var group sync.WaitGroup
	for _, n := range g.nodes {
		group.Go(func() { _ = n.close() }) // the registry is gone
	}
	group.Wait()
	return err
}

func (g *grid) tls(n *node) (*tls.Config, error) {
	certificate, err := n.key.TLS(n.pem)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{certificate}, RootCAs: g.roots.Pool(), ServerName: trust.MemberHostname}, nil
}
