package gridstore

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/trust"
)

// heard waits until a client has taken a revision in.
func (g *testGrid) heard(c *Client, revision int64) Snapshot {
	g.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		s := c.Snapshot()
		if s.Revision >= revision {
			return s
		}
		if time.Now().After(end) {
			g.t.Fatalf("node %s has heard up to %d of %d", c.cfg.Node, s.Revision, revision)
		}
	}
}

// TestOneNodeAgainstANetwork: every node can write where documents are, and who is
// named. One that uses it against a network that it has nothing to do with stops
// nothing, and its owner's next word counts.
func TestOneNodeAgainstANetwork(t *testing.T) {
	t.Parallel()
	g := single(t, 3)
	ctx := t.Context()
	n1, n2 := g.open(1), g.open(2)
	owner, other := must(trust.NewOwnerKey()), must(trust.NewOwnerKey())
	g.publish(n1)
	revision := uint64(1)
	g.ok(g.apply(n1, owner, "acme", revision, "n1", "n2"))
	g.part(n1, "acme")
	n1.Carry([]string{"acme"})
	n2.Carry([]string{"acme"})
	whole := func(s Snapshot) bool {
		n := s.Networks["acme"]
		return n != nil && n.Document.Revision == revision && n.Parts["n1"] != nil && s.Nodes["n1"] != nil && s.Nodes["n1"].Record != nil
	}
	g.until(n2, "acme", whole)
	g.until(n1, "acme", func(s Snapshot) bool { return s.Networks["acme"] != nil })
	const document, span = root + "networks/acme", root + "spans/n2/acme"
	thief := g.etcd(3)
	put := func(key, value string) int64 {
		resp, err := thief.Put(ctx, key, value)
		g.ok(err)
		return resp.Header.Revision
	}
	remove := func(key string, opts ...clientv3.OpOption) int64 {
		resp, err := thief.Delete(ctx, key, opts...)
		g.ok(err)
		return resp.Header.Revision
	}
	signed := func(key *trust.OwnerKey, revision uint64, nodes ...string) string {
		d := Document{Document: must(key.Sign("acme", revision, "network: acme\nnodes: [n3]\n")), Nodes: nodes}
		return string(must(encode(&d, nil)))
	}
	tests := []struct {
		name string
		do   func() int64
	}{
		{"deletes the document", func() int64 { return remove(document) }},
		{"deletes every document", func() int64 { return remove(networksRoot, clientv3.WithPrefix()) }},
		{"deletes what tells a node that it is named", func() int64 { return remove(span) }},
		{"deletes both", func() int64 {
			remove(document)
			return remove(span)
		}},
		{"says that it names nobody", func() int64 {
			var d Document
			g.ok(decode([]byte(g.rawGet(document)), &d))
			d.Nodes = nil
			return put(document, string(must(encode(&d, nil))))
		}},
		{"writes garbage", func() int64 { return put(document, "{") }},
		{"writes one of its own", func() int64 { return put(document, signed(other, 1<<40, "n1", "n2")) }},
		{"ends it in its own name", func() int64 {
			d := Document{Document: must(other.Release("acme", 1<<40))}
			return put(document, string(must(encode(&d, nil))))
		}},
		{"claims a revision that nobody signed", func() int64 {
			d := Document{Document: must(owner.Sign("acme", 1<<40, "network: acme\n"))}
			d.Signature[0] ^= 1
			return put(document, string(must(encode(&d, nil))))
		}},
	}
	for _, tt := range tests {
		at := tt.do()
		if s := g.heard(n2, at); !whole(s) || s.Carried["acme"] == nil || s.Carried["acme"].Revision != revision {
			t.Fatalf("%s: n2 has lost it: %+v", tt.name, s.Networks["acme"])
		}
		g.heard(n1, at)
		if d, err := n1.Document(ctx, "acme"); err != nil || d == nil || d.Revision != revision || d.Owner != owner.Owner() {
			t.Fatalf("%s: the document is %+v, %v; want revision %d", tt.name, d, err, revision)
		}
		revision++
		g.ok(g.apply(n1, owner, "acme", revision, "n1", "n2"))
		g.until(n2, tt.name+", and the owner's next word", func(s Snapshot) bool { return whole(s) && len(s.Problems) == 0 })
	}

	t.Run("is put back", func(t *testing.T) {
		s := g.heard(n2, remove(networksRoot, clientv3.WithPrefix()))
		g.ok(n2.PutDocument(ctx, *s.Carried["acme"]))
		g.until(n2, "it is there again", func(s Snapshot) bool { return whole(s) && len(s.Problems) == 0 })
	})
	t.Run("over a restart", func(t *testing.T) {
		g.close(n2)
		remove(span)
		at := remove(document)
		n2 = g.open(2)
		if s := g.heard(n2, at); !whole(s) {
			t.Fatalf("n2 has lost it: %+v", s.Networks["acme"])
		}
	})
	t.Run("its owner ends it", func(t *testing.T) {
		d := Document{Document: must(owner.Release("acme", revision+1))}
		g.ok(n1.PutDocument(ctx, d))
		g.until(n2, "the end", func(s Snapshot) bool {
			return s.Networks["acme"] == nil && s.Carried["acme"] != nil && s.Carried["acme"].Released
		})
	})
}

// TestManySpans: a node that tells another one of a million networks takes no more of its
// memory than some thousand, and no network from it that it carries.
func TestManySpans(t *testing.T) {
	s := newState(judge{roots: newGrid(t).roots, now: time.Now}.fresh(), newScope("n2", nil))
	s.carry(map[string]bool{"zeta": true})
	raw := must(encode(&span{}, nil))
	for i := range 2 * mostSpans {
		s.put(fmt.Sprintf("%sn-%d", spansOf("n2"), i), raw, int64(i))
		s.put(fmt.Sprintf("%sN-%d", spansOf("n2"), i), raw, int64(i))
	}
	s.put(spansOf("n2")+"zeta", raw, 1)
	if s.spans != mostSpans+1 || len(s.groups) != mostSpans+1 || len(s.refused) != mostRefused || s.find(Key{Kind: KindSpan, Node: "n2", Network: "zeta"}) == nil {
		t.Errorf("%d spans, %d groups, %d refused; want at most %d and %d", s.spans, len(s.groups), len(s.refused), mostSpans+1, mostRefused)
	}
	s.delete(spansOf("n2") + "n-0")
	s.delete(spansOf("n2") + "n-1")
	if s.put(spansOf("n2")+"acme", raw, 1); s.find(Key{Kind: KindSpan, Node: "n2", Network: "acme"}) == nil {
		t.Errorf("%d spans: those that go make no room", s.spans)
	}
	for i := range 2 * mostSpans {
		s.delete(fmt.Sprintf("%sn-%d", spansOf("n2"), i))
		s.delete(fmt.Sprintf("%sN-%d", spansOf("n2"), i))
	}
	if s.spans != 2 || len(s.refused) != 0 {
		t.Errorf("%d spans and %d refused are left", s.spans, len(s.refused))
	}
}

// TestRegisteredFirst: when a prefix was registered is told by the registry, not by who
// signs it, and is not changed by signing it again, nor by a restart.
func TestRegisteredFirst(t *testing.T) {
	t.Parallel()
	g := single(t, 2)
	ctx := t.Context()
	n2, etcd := g.open(2), g.etcd(1)
	g.ok(n2.PutRequest(ctx, nil, ipam.Request{Holder: "n1", Blocks: 1}))
	prefix := netip.MustParsePrefix("2001:db8::/48")
	k := Key{Kind: KindRegistration, Node: "n1", Prefix: prefix}
	register := func(serial uint64) int64 {
		raw := must(g.node(1).key.Sign("n1", k.signedAs(), k.path(), serial, []byte(`{"version":1,"registered":"2000-01-01T00:00:00Z"}`)))
		resp, err := etcd.Put(ctx, k.String(), string(raw))
		g.ok(err)
		return resp.Header.Revision
	}
	made := register(1)
	is := func(s Snapshot) bool { return s.Nodes["n1"] != nil && s.Nodes["n1"].Registered[prefix] == made }
	g.until(n2, "the registration", is)
	if s := g.heard(n2, register(2)); !is(s) {
		t.Errorf("signed again it is of %v, want %d", s.Nodes["n1"].Registered, made)
	}
	g.close(n2)
	n2 = g.open(2, func(c *Config) { c.Endpoints = []string{"https://[fd00:7a6f::9]:1"} })
	if s := n2.Snapshot(); s.Source != SourceCache || !is(s) {
		t.Errorf("from the cache: %+v", s.Nodes["n1"])
	}
}
