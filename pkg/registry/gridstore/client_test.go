package gridstore

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/trust"
)

// open opens the client of node n, with a cache in the grid's directory.
func (g *testGrid) open(n int, change ...func(*Config)) *Client {
	g.t.Helper()
	node := g.node(n)
	cfg := Config{
		Node: node.name, Endpoints: g.endpoints(), TLS: node.tls, Key: node.key, Identity: node.identity, Roots: g.roots,
		CacheFile: filepath.Join(g.dir, node.name, "cache.db"), Log: g.log.logger(),
	}
	for _, f := range change {
		f(&cfg)
	}
	c, err := Open(cfg)
	g.ok(err)
	g.t.Cleanup(func() { g.close(c) })
	return c
}

func (g *testGrid) close(c *Client) {
	g.t.Helper()
	if err := c.Close(); err != nil {
		g.t.Errorf("close: %v", err)
	}
}

// publish puts what every node puts: its certificate is there since it was let in.
func (g *testGrid) publish(c *Client) {
	g.t.Helper()
	g.ok(c.PutRecord(g.t.Context(), Record{Class: "dc-dual", Endpoint: netip.MustParseAddr("192.0.2.1")}))
}

// part puts a node's part in a network.
func (g *testGrid) part(c *Client, network string) {
	g.t.Helper()
	p := Part{Prefix: netip.MustParsePrefix("2001:db8:1:1::/64"), PublicKey: c.cfg.Node, Port: 51820}
	g.ok(c.PutPart(g.t.Context(), network, p))
}

// apply signs and stores a network's next revision.
func (g *testGrid) apply(c *Client, key *trust.OwnerKey, network string, revision uint64, nodes ...string) error {
	g.t.Helper()
	text := fmt.Sprintf("network: %s\nnodes: [%s]\n# revision %d\n", network, strings.Join(nodes, ", "), revision)
	return c.PutDocument(g.t.Context(), Document{Document: must(key.Sign(network, revision, text)), Nodes: nodes})
}

// until waits for a snapshot that is as it should be.
func (g *testGrid) until(c *Client, what string, is func(Snapshot) bool) Snapshot {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), patience)
	defer cancel()
	changed := c.Watch(ctx)
	for {
		if s := c.Snapshot(); is(s) {
			return s
		}
		if _, ok := <-changed; !ok {
			s := c.Snapshot()
			g.t.Fatalf("%s: not in time; node %s has revision %d from %q, nodes %v, networks %v, problems %v\n%s",
				what, c.cfg.Node, s.Revision, s.Source, names(s.Nodes), names(s.Networks), s.Problems, g.log)
		}
	}
}

func names[V any](m map[string]V) (list []string) {
	for name := range m {
		list = append(list, name)
	}
	return list
}

// asRoot runs a request that no node may make.
func (g *testGrid) asRoot(request func(context.Context, *clientv3.Client) error) {
	g.t.Helper()
	g.ok(g.members[1].AsRoot(g.t.Context(), request))
}

func (g *testGrid) rawPut(key, value string) {
	g.t.Helper()
	g.asRoot(func(ctx context.Context, etcd *clientv3.Client) error {
		_, err := etcd.Put(ctx, key, value)
		return err
	})
}

func (g *testGrid) rawGet(key string) (value string) {
	g.t.Helper()
	g.asRoot(func(ctx context.Context, etcd *clientv3.Client) error {
		resp, err := etcd.Get(ctx, key)
		if err == nil && len(resp.Kvs) == 1 {
			value = string(resp.Kvs[0].Value)
		}
		return err
	})
	return value
}

// TestNetworkOverNodes: what a node publishes reaches those whom it concerns, and
// nobody else.
func TestNetworkOverNodes(t *testing.T) {
	t.Parallel()
	g := single(t, 3)
	ctx := t.Context()
	n1, n2, n3 := g.open(1), g.open(2), g.open(3)
	owner := must(trust.NewOwnerKey())
	for _, c := range []*Client{n1, n2, n3} {
		g.publish(c)
	}
	g.ok(g.apply(n1, owner, "acme", 1, "n1", "n2"))
	g.ok(g.apply(n1, owner, "globex", 1, "n1", "n3"))
	g.part(n1, "acme")
	g.part(n1, "globex")
	address := netip.MustParseAddr("2001:db8:1:1::5")
	g.ok(n1.PutAttachment(ctx, "acme", Attachment{Workload: "web-1", Service: "web", Kind: "tap", Host: 5, Address: address}))
	learned := netip.MustParseAddr("2001:db8:1:1::abcd")
	g.ok(n1.PutBindings(ctx, "acme", []Binding{{Workload: "web-1", Address: learned, Learned: time.Now()}}))

	s := g.until(n2, "acme as n2 hears it", func(s Snapshot) bool {
		n := s.Networks["acme"]
		return n != nil && n.Parts["n1"] != nil && len(n.Attachments["n1"]) == 1 && len(n.Bindings["n1"]) == 1 && s.Nodes["n1"] != nil
	})
	if n := s.Networks["acme"]; n.Document.Revision != 1 || n.Attachments["n1"][0].Address != address || n.Attachments["n1"][0].Workload != "web-1" ||
		n.Bindings["n1"][0].Address != learned || n.Parts["n1"].Port != 51820 {
		t.Errorf("acme at n2: %+v", n)
	}
	if n := s.Nodes["n1"]; n.Record == nil || n.Record.Class != "dc-dual" || n.Identity == nil || n.Identity.Address != controlAddress(1) {
		t.Errorf("n1 at n2: %+v", n)
	}
	if s.Source != SourceCluster || time.Since(s.Confirmed) > time.Minute || len(s.Problems) != 0 {
		t.Errorf("%s, %s, problems %v", s.Source, s.Confirmed, s.Problems)
	}
	if s.Networks["globex"] != nil || s.Nodes["n3"] != nil {
		t.Errorf("n2 hears of networks %v, nodes %v", names(s.Networks), names(s.Nodes))
	}

	t.Run("what did not change is the same", func(t *testing.T) {
		before := g.until(n1, "acme and n2 as n1 hears them", func(s Snapshot) bool {
			n := s.Networks["acme"]
			return n != nil && len(n.Bindings["n1"]) == 1 && s.Nodes["n2"] != nil && s.Nodes["n2"].Record != nil
		})
		g.ok(g.apply(n1, owner, "globex", 2, "n1", "n3"))
		after := g.until(n1, "globex as n1 hears it", func(s Snapshot) bool {
			return s.Networks["globex"] != nil && s.Networks["globex"].Document.Revision == 2
		})
		if before.Networks["acme"] != after.Networks["acme"] || before.Nodes["n2"] != after.Nodes["n2"] {
			t.Error("acme or n2 was made anew")
		}
	})
	t.Run("a workload's name is taken in all of its network", func(t *testing.T) {
		err := n2.PutAttachment(ctx, "acme", Attachment{Workload: "web-1", Service: "web", Kind: "netns", Host: 9})
		var taken *registry.ExistsError
		if !errors.As(err, &taken) || !strings.Contains(err.Error(), "node n1") {
			t.Errorf("n2: %v", err)
		}
		g.ok(n3.PutAttachment(ctx, "globex", Attachment{Workload: "web-1", Service: "web", Kind: "netns", Host: 9}))
		g.ok(n1.DeleteAttachment(ctx, "acme", "web-1"))
		g.ok(n1.DeleteAttachment(ctx, "acme", "web-1"))
		g.ok(n2.PutAttachment(ctx, "acme", Attachment{Workload: "web-1", Service: "web", Kind: "netns", Host: 9}))
		g.until(n2, "n1's workload is gone with its address, n2's is there", func(s Snapshot) bool {
			n := s.Networks["acme"]
			return len(n.Attachments["n1"]) == 0 && len(n.Bindings["n1"]) == 0 && len(n.Attachments["n2"]) == 1
		})
		g.ok(n2.DeletePart(ctx, "acme"))
		g.ok(n1.PutAttachment(ctx, "acme", Attachment{Workload: "web-1", Service: "web", Kind: "tap", Host: 5, Address: address}))
	})
	t.Run("a node that the document no longer names", func(t *testing.T) {
		g.ok(g.apply(n1, owner, "acme", 2, "n1", "n3"))
		s := g.until(n2, "acme is gone from n2", func(s Snapshot) bool { return s.Networks["acme"] == nil })
		if s.Nodes["n1"] != nil {
			t.Error("n2 hears of n1 still")
		}
		g.until(n3, "acme is at n3", func(s Snapshot) bool {
			return s.Networks["acme"] != nil && len(s.Networks["acme"].Attachments["n1"]) == 1
		})
	})
	t.Run("a network that its owner released", func(t *testing.T) {
		g.ok(n1.PutDocument(ctx, Document{Document: must(owner.Release("acme", 3))}))
		g.until(n3, "acme is gone", func(s Snapshot) bool { return s.Networks["acme"] == nil })
		other := must(trust.NewOwnerKey())
		g.ok(g.apply(n3, other, "acme", 4, "n3"))
		g.until(n3, "acme of another owner", func(s Snapshot) bool { return s.Networks["acme"] != nil })
	})
}

// TestTwoApply: of several people who apply one network at once, one wins.
func TestTwoApply(t *testing.T) {
	t.Parallel()
	g := single(t, 2)
	n1, n2 := g.open(1), g.open(2)
	key := must(trust.NewOwnerKey())
	const people = 8
	for revision := uint64(1); revision <= 2; revision++ {
		var wait sync.WaitGroup
		errs := make([]error, people)
		for i := range people {
			wait.Go(func() {
				text := fmt.Sprintf("network: acme\nnodes: [n1]\n# by person %d\n", i)
				c := []*Client{n1, n2}[i%2]
				errs[i] = c.PutDocument(t.Context(), Document{Document: must(key.Sign("acme", revision, text)), Nodes: []string{"n1"}})
			})
		}
		wait.Wait()
		won := 0
		for _, err := range errs {
			conflict, is := errors.AsType[*ConflictError](err)
			switch {
			case err == nil:
				won++
			case !is || conflict.Revision != revision || conflict.Owner != key.Owner():
				t.Errorf("revision %d: %v", revision, err)
			}
		}
		if won != 1 {
			t.Errorf("revision %d: %d of %d won", revision, won, people)
		}
	}
	stranger := must(trust.NewOwnerKey())
	err := g.apply(n1, stranger, "acme", 3, "n1")
	if conflict, is := errors.AsType[*ConflictError](err); !is || conflict.Owner != key.Owner() || !strings.Contains(err.Error(), "choose another name") {
		t.Errorf("another owner: %v", err)
	}
	d, err := n2.Document(t.Context(), "acme")
	if err != nil || d.Revision != 2 {
		t.Errorf("there is %+v, %v", d, err)
	}
	g.ok(n2.PutDocument(t.Context(), *d)) // again
	if d, err := n2.Document(t.Context(), "none"); d != nil || err != nil {
		t.Errorf("a network that is not there: %v, %v", d, err)
	}
}

// TestBlocks: a node asks a holder for blocks, hears what it gets, and others hear
// to whom the block behind a part was given.
func TestBlocks(t *testing.T) {
	t.Parallel()
	g := single(t, 3)
	ctx := t.Context()
	n1, n2, n3 := g.open(1), g.open(2), g.open(3)
	prefix := netip.MustParsePrefix("2001:db8::/48")
	_, err := n1.UpdateHolding(ctx, func(h ipam.Holding, _ *Others) (ipam.Holding, error) {
		return h.Register(ipam.Registration{Prefix: prefix, Holder: "n1", Source: "a LIR", Registered: time.Now()}, nil, time.Now())
	})
	g.ok(err)
	g.ok(n2.PutRequest(ctx, nil, ipam.Request{Holder: "n1", Blocks: 2}))
	asked := g.until(n1, "n2's request", func(s Snapshot) bool { return s.Nodes["n2"] != nil && s.Nodes["n2"].Request != nil })
	if asked.Nodes["n2"].Request.Blocks != 2 || asked.Nodes["n2"].Admitted == nil || asked.Nodes["n2"].Admitted.Address != controlAddress(2) {
		t.Errorf("n2 at its holder: %+v", asked.Nodes["n2"])
	}
	answer := func(h ipam.Holding, _ *Others) (ipam.Holding, error) {
		return h.Answer(map[string]ipam.Request{"n2": *asked.Nodes["n2"].Request}, time.Now())
	}
	var wait sync.WaitGroup
	for range 4 { // at once: none is given twice
		wait.Go(func() {
			if _, err := n1.UpdateHolding(ctx, answer); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	s := g.until(n2, "its blocks", func(s Snapshot) bool { return s.Nodes["n1"] != nil && len(s.Nodes["n1"].Holding.Of("n2")) == 2 })
	if r := s.Nodes["n1"].Holding.Registrations[prefix]; r.Source != "a LIR" || r.Holder != "n1" {
		t.Errorf("registration %+v", r)
	}
	block := s.Nodes["n1"].Holding.Of("n2")[0]

	owner := must(trust.NewOwnerKey())
	g.ok(g.apply(n1, owner, "acme", 1, "n2", "n3"))
	g.ok(n2.PutPart(ctx, "acme", Part{Prefix: netip.PrefixFrom(block.Addr(), 64), Block: block, Holder: "n1", Port: 1}))
	s = g.until(n3, "the delegation behind n2's part", func(s Snapshot) bool { d, ok := s.Block("n1", block); return ok && d.Node == "n2" })
	if len(s.Nodes["n1"].Holding.Blocks) != 1 || s.Nodes["n1"].Holding.Registrations[prefix].Prefix != prefix {
		t.Errorf("n3 hears of %+v", s.Nodes["n1"].Holding)
	}
	_, err = n1.UpdateHolding(ctx, func(h ipam.Holding, _ *Others) (ipam.Holding, error) { return h.Unregister(prefix, false, time.Now()) })
	if _, is := errors.AsType[*ipam.DelegatedError](err); !is {
		t.Errorf("released while delegated: %v", err)
	}
	before := n1.Snapshot()
	_, err = n1.UpdateHolding(ctx, func(h ipam.Holding, _ *Others) (ipam.Holding, error) { return h.RemoveNode("n2", time.Now()), nil })
	g.ok(err)
	if n1.Heard(before) {
		t.Error("a snapshot of before n1's change is said to have it")
	}
	if s = g.until(n1, "its own change", n1.Heard); len(s.Nodes["n1"].Holding.Of("n2")) > 0 {
		t.Errorf("n1 has heard of its own change, and has %+v", s.Nodes["n1"].Holding)
	}
	g.until(n3, "the block rests", func(s Snapshot) bool { d, ok := s.Block("n1", block); return ok && !d.Owned() })
}

// TestManyNetworks: a node with many networks has thousands of ranges on its one
// stream, and starts from its cache without reading them again.
func TestManyNetworks(t *testing.T) {
	t.Parallel()
	const networks = 250
	g := single(t, 2)
	n1 := g.open(1)
	owner := must(trust.NewOwnerKey())
	nodes := []string{"n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8"}
	for i := range networks {
		g.ok(g.apply(n1, owner, fmt.Sprintf("net-%d", i), 1, nodes...))
	}
	all := func(s Snapshot) bool { return s.Source == SourceCluster && len(s.Networks) == networks }
	began := time.Now()
	n2 := g.open(2)
	g.until(n2, "all networks", all)
	cold := time.Since(began)
	g.close(n2)
	began = time.Now()
	n2 = g.open(2)
	g.until(n2, "all networks, from the cache", all)
	warm := time.Since(began)
	for port := uint16(1); port <= 3; port++ { // at first the stream may still be opening
		began = time.Now()
		g.ok(n1.PutPart(t.Context(), "net-7", Part{Prefix: netip.MustParsePrefix("2001:db8::/64"), Port: port}))
		g.until(n2, "one change", func(s Snapshot) bool {
			p := s.Networks["net-7"].Parts["n1"]
			return p != nil && p.Port == port
		})
	}
	t.Logf("%d ranges: cold %s, from the cache %s, one change %s", len(n2.state.scope.all()), cold.Round(time.Millisecond),
		warm.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
}
