package gridstore

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/zosnet/zosnet/pkg/trust"
)

// TestNewerFieldsSurvive: what a newer node wrote into a value, an older one leaves
// in it.
func TestNewerFieldsSurvive(t *testing.T) {
	t.Parallel()
	g := single(t, 1)
	ctx := t.Context()
	c := g.open(1)
	owner := must(trust.NewOwnerKey())
	g.publish(c)
	g.ok(g.apply(c, owner, "acme", 1, "n1"))
	newer := func(key string) {
		raw := g.rawGet(key)
		g.rawPut(key, strings.Replace(raw, "{", `{"aNewField":{"a":1},`, 1))
	}
	node := g.node(1)
	record := `{"version":1,"class":"home-ipv4","aNewFact":[1,2]}`
	g.rawPut("/zosnet/v1/nodes/n1/record", string(must(node.key.Sign("n1", trust.KindRecord, "nodes/n1/record", 1, []byte(record)))))
	newer("/zosnet/v1/nodes/n1/record")
	newer("/zosnet/v1/networks/acme")
	newer("/zosnet/v1/nodes/n1/certificate")

	g.ok(c.PutRecord(ctx, Record{Class: "dc-ipv4"}))
	g.ok(g.apply(c, owner, "acme", 2, "n1"))
	renewed := must(g.ca.Issue(g.request(1), controlAddress(1), time.Now()))
	g.ok(c.PutCertificate(ctx, append(renewed, node.pem...)))
	for _, key := range []string{"nodes/n1/record", "networks/acme", "nodes/n1/certificate"} {
		if raw := g.rawGet(root + key); !strings.Contains(raw, `"aNewField":{"a":1}`) || !strings.Contains(raw, `"version":1`) {
			t.Errorf("%s: %s", key, raw)
		}
	}
	if raw := g.rawGet("/zosnet/v1/nodes/n1/record"); !strings.Contains(raw, `\"aNewFact\":[1,2]`) || !strings.Contains(raw, "dc-ipv4") {
		t.Errorf("the payload: %s", raw)
	}
	s := g.until(c, "it is believed", func(s Snapshot) bool {
		return s.Nodes["n1"] != nil && s.Nodes["n1"].Record != nil && s.Nodes["n1"].Record.Class == "dc-ipv4"
	})
	if len(s.Problems) != 0 {
		t.Errorf("problems %v", s.Problems)
	}
	t.Run("what is no value is", func(t *testing.T) {
		g.rawPut("/zosnet/v1/nodes/n1/certificate", `garbage`)
		g.ok(c.PutCertificate(ctx, node.pem))
	})
	for kind, write := range map[string]func() error{
		"certificate":   func() error { return c.PutCertificate(ctx, node.pem) },
		"record":        func() error { return c.PutRecord(ctx, Record{Class: "dc-dual"}) },
		"networks/acme": func() error { return c.PutPart(ctx, "acme", Part{Port: 1}) },
	} {
		t.Run("a value of a newer version is not written over: "+kind, func(t *testing.T) {
			key := root + "nodes/n1/" + kind
			before := g.rawGet(key)
			g.rawPut(key, `{"version":2}`)
			err := write()
			if newer, is := errors.AsType[*VersionError](err); !is || newer.Version != 2 || !strings.Contains(err.Error(), key) || g.rawGet(key) != `{"version":2}` {
				t.Errorf("got %v, and there is %s", err, g.rawGet(key))
			}
			g.rawPut(key, before)
		})
	}
}

// signedBy gives a value of node n as that node writes it, with a newer field in the
// envelope.
func (g *testGrid) signedBy(n int, key Key, serial uint64, payload string) string {
	g.t.Helper()
	raw := must(g.node(n).key.Sign(g.node(n).name, key.signedAs(), key.path(), serial, []byte(payload)))
	return strings.Replace(string(raw), "{", `{"aNewField":{"a":1},`, 1)
}

// payload gives what is signed of a value in the registry.
func (g *testGrid) payload(key Key) string {
	g.t.Helper()
	var s trust.Signed
	g.ok(json.Unmarshal([]byte(g.rawGet(key.String())), &s))
	return s.Payload
}

// TestNewerPart: what a newer zosnet said in a part, beside what this one knows and
// within it, outlives what this one writes there, also when the node starts from its
// copy.
func TestNewerPart(t *testing.T) {
	t.Parallel()
	g := single(t, 2)
	ctx := t.Context()
	c, n2 := g.open(1), g.open(2)
	g.publish(c)
	g.ok(g.apply(c, must(trust.NewOwnerKey()), "acme", 1, "n1", "n2"))
	key := Key{Kind: KindPart, Node: "n1", Network: "acme"}
	g.rawPut(key.String(), g.signedBy(1, key, 1, `{"version":1,"prefix":"2001:db8::/64","publicKey":"k","port":1,"aNewFact":[1],`+
		`"next":{"generation":1,"publicKey":"l","port":2,"aNewFact":{"b":2}}}`))
	port := func(want uint16) func(Snapshot) bool {
		return func(s Snapshot) bool {
			acme := s.Networks["acme"]
			return acme != nil && acme.Parts["n1"] != nil && acme.Parts["n1"].Port == want && acme.Parts["n1"].Next != nil
		}
	}
	kept := func(what string) {
		t.Helper()
		if raw, payload := g.rawGet(key.String()), g.payload(key); !strings.Contains(raw, `"aNewField":{"a":1}`) ||
			!strings.Contains(payload, `"aNewFact":[1]`) || !strings.Contains(payload, `"aNewFact":{"b":2}`) {
			t.Errorf("%s: %s", what, raw)
		}
	}
	s := g.until(c, "the newer part", port(1))
	is := *s.Networks["acme"].Parts["n1"]
	is.Port = 3
	g.ok(c.PutPart(ctx, "acme", is))
	g.until(n2, "what the older zosnet made of it", port(3))
	kept("it is changed")
	g.ok(c.PutPart(ctx, "acme", Part{Prefix: is.Prefix, PublicKey: "m", Port: 4, Next: &Successor{Generation: 2, PublicKey: "n", Port: 5}}))
	g.until(c, "one of its own", port(4))
	g.until(n2, "one of its own", port(4))
	kept("another one is written over it")

	g.close(c)
	c = g.open(1, func(cfg *Config) { cfg.Endpoints = []string{"https://[fd00:7a6f::9]:1"} })
	s = g.until(c, "the part in the copy", port(4))
	is = *s.Networks["acme"].Parts["n1"]
	text := string(must(encode(&is, nil)))
	if s.Source != SourceCache || !strings.Contains(text, `"aNewFact":[1]`) || !strings.Contains(text, `"aNewFact":{"b":2}`) {
		t.Errorf("the copy, from %q, has %s", s.Source, text)
	}

	is.Next = nil
	g.close(c)
	c = g.open(1)
	g.ok(c.PutPart(ctx, "acme", is))
	if payload := g.payload(key); !strings.Contains(payload, `"aNewFact":[1]`) || strings.Contains(payload, `{"b":2}`) {
		t.Errorf("without next: %s", payload)
	}
}

// TestNewerToken: who lets a node in by a token of a newer zosnet leaves in it, and in
// what it says of its use, what that one wrote.
func TestNewerToken(t *testing.T) {
	t.Parallel()
	g := single(t, 2)
	c := g.open(1)
	pending := trust.PendingToken{ID: "t1", Hash: []byte{1}, Peer: g.node(2).identity.ControlKey, Expires: time.Now().Add(time.Hour)}
	pending.Used = &trust.TokenUse{Node: "n2", At: time.Now()}
	g.ok(c.PutToken(t.Context(), pending))
	key := root + "nodes/n1/tokens/t1"
	raw := strings.Replace(g.rawGet(key), "{", `{"aNewField":1,`, 1)
	g.rawPut(key, strings.Replace(raw, `"used":{`, `"used":{"aNewField":2,`, 1))
	pending.Used = &trust.TokenUse{Node: "n2", At: time.Now().Add(time.Minute)}
	g.ok(g.root().Admit(t.Context(), Admission{Node: "n2", Address: controlAddress(2), ControlKey: g.node(2).identity.ControlKey}, g.node(2).pem, "n1", &pending))
	if raw := g.rawGet(key); !strings.Contains(raw, `"aNewField":1`) || !strings.Contains(raw, `"aNewField":2`) {
		t.Errorf("the token: %s", raw)
	}
}

// TestForgedNewerFields: a node signs nothing that others put in the place of what it
// said, in whatever field.
func TestForgedNewerFields(t *testing.T) {
	t.Parallel()
	g := single(t, 2)
	ctx := t.Context()
	c := g.open(1)
	record := Key{Kind: KindRecord, Node: "n1"}
	g.publish(c)
	g.until(c, "its record", func(s Snapshot) bool { return s.Nodes["n1"] != nil && s.Nodes["n1"].Record != nil })
	const forged = `{"version":1,"class":"dc-dual","aNewRight":true}`
	own := g.signedBy(1, record, 1, forged) // before the one that it heard of last
	other := Key{Kind: KindRecord, Node: "n2"}
	for what, raw := range map[string]string{
		"another's":              g.signedBy(2, other, 1<<50, forged),
		"its-own-of-before":      own,
		"its-own-of-another-key": g.signedBy(1, Key{Kind: KindPart, Node: "n1", Network: "acme"}, 1<<50, forged),
		"forged":                 strings.Replace(own, `"signature":"`, `"signature":"AAAA`, 1),
		"unsigned":               `{"version":1,"kind":"record","node":"n1","key":"nodes/n1/record","serial":1,"payload":"{\"version\":1,\"aNewRight\":true}"}`,
		"bare":                   forged,
	} {
		g.rawPut(record.String(), raw)
		g.ok(c.PutRecord(ctx, Record{Class: what}))
		if got := g.rawGet(record.String()); strings.Contains(got, "aNewRight") || strings.Contains(got, "aNewField") || !strings.Contains(got, what) {
			t.Errorf("%s: it signed %s", what, got)
		}
	}
}

// TestJunkInADocument: every node can write beside what an owner signed. That does not
// stop the owner's next word, nor is it read in the place of what that says.
func TestJunkInADocument(t *testing.T) {
	t.Parallel()
	g := single(t, 2)
	n1, n2 := g.open(1), g.open(2)
	owner := must(trust.NewOwnerKey())
	const key = root + "networks/acme"
	revision := uint64(1)
	g.ok(g.apply(n1, owner, "acme", revision, "n1", "n2"))
	there := func(s Snapshot) bool {
		return s.Networks["acme"] != nil && s.Networks["acme"].Document.Revision == revision && len(s.Problems) == 0
	}
	for what, junk := range map[string]string{
		"in the place of the revision": `"revi\u017fion":1,"Revision":1,"REVISION":1`,
		"in the place of the nodes":    `"Nodes":["n1"],"node\u017f":[]`,
		"as much as a client sends":    `"junk":"` + strings.Repeat("j", 3<<19) + `"`,
	} {
		g.until(n1, "before "+what, there) // what it has heard counts, where it cannot read the registry's
		g.until(n2, "before "+what, there)
		raw := strings.TrimSpace(g.rawGet(key))
		g.rawPut(key, strings.TrimSuffix(raw, "}")+","+junk+"}")
		revision++
		if err := g.apply(n1, owner, "acme", revision, "n1", "n2"); err != nil {
			t.Fatalf("%s: the owner's next word: %v", what, err)
		}
		g.until(n2, "the owner's next word after "+what, there)
		if raw := g.rawGet(key); len(raw) > 4096 || strings.Contains(raw, "Nodes") || strings.Contains(raw, "REVISION") || strings.Contains(raw, "\u017f") {
			t.Errorf("%s: it is there still: %.4096s", what, raw)
		}
	}

	revision++
	d := Document{Document: must(owner.Sign("acme", revision, "network: acme\nnodes: [n1, n2]\n")), Nodes: []string{"n1", "n2"}}
	g.rawPut(key, strings.Replace(string(must(encode(&d, nil))), "{", `{"aNewField":1,`, 1))
	for _, c := range []*Client{n1, n2} {
		g.until(c, "a newer zosnet's", there)
	}
	g.rawPut(key, `{"version":1,"aLie":1}`)
	revision++
	g.ok(g.apply(n1, owner, "acme", revision, "n1", "n2"))
	if raw := g.rawGet(key); !strings.Contains(raw, `"aNewField":1`) || strings.Contains(raw, "aLie") {
		t.Errorf("a lie was in the place of a newer zosnet's document: %s", raw)
	}
}

// TestNewerDocument: a document of a newer version at a network's key is left alone by an
// older zosnet, which says so, and goes on with the last one that it understood.
func TestNewerDocument(t *testing.T) {
	t.Parallel()
	g := single(t, 3)
	ctx := t.Context()
	n1, n2, n3 := g.open(1), g.open(2), g.open(3)
	owner := must(trust.NewOwnerKey())
	g.ok(g.apply(n1, owner, "acme", 1, "n1", "n2"))
	n2.Carry([]string{"acme"})
	g.until(n2, "acme", func(s Snapshot) bool { return s.Networks["acme"] != nil })
	const key, newer = root + "networks/acme", `{"version":2,"text":"network: acme\nnodes: [n3]\n","revision":9,"nodes":["n3"]}`
	g.rawPut(key, newer)
	why := func(err error) bool {
		v, is := errors.AsType[*VersionError](err)
		return is && v.Version == 2 && strings.Contains(err.Error(), "version 2") && strings.Contains(err.Error(), "upgrade zosnet on this node")
	}
	last := func(s Snapshot) bool {
		return s.Networks["acme"] != nil && s.Networks["acme"].Document.Revision == 1 && s.Carried["acme"] != nil &&
			len(s.Problems) == 1 && s.Problems[0].Key == key && why(s.Problems[0].Err)
	}
	g.until(n2, "the last one that it understood, and why", last)
	refused := func(what string, err error) {
		t.Helper()
		if !why(err) || !strings.Contains(err.Error(), `"acme"`) || g.rawGet(key) != newer {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("the next revision", g.apply(n1, owner, "acme", 2, "n1", "n2"))
	refused("from a node that knows nothing of it", g.apply(n3, owner, "acme", 2, "n1", "n2"))
	refused("as a new one", g.apply(n3, owner, "acme", 1, "n1", "n2"))
	refused("its end", n1.PutDocument(ctx, Document{Document: must(owner.Release("acme", 2))}))
	refused("the last one again", n2.PutDocument(ctx, *n2.Snapshot().Carried["acme"]))
	_, err := n2.Document(ctx, "acme")
	refused("what it is", err)
	_, err = n3.Look(ctx, "acme", nil)
	refused("a look at it", err)
	if list := must(n2.History(ctx, "acme")); len(list) != 1 || !why(list[0].Err) || list[0].Text != "" {
		t.Errorf("its history: %+v", list)
	}

	g.close(n2)
	n2 = g.open(2, func(c *Config) { c.Endpoints = []string{"https://[fd00:7a6f::9]:1"} })
	if s := n2.Snapshot(); s.Source != SourceCache || !last(s) {
		t.Errorf("from the copy: %+v, problems %v", s.Networks["acme"], s.Problems)
	}
	g.rawPut(key, string(must(encode(&Document{Document: must(owner.Sign("acme", 2, "network: acme\nnodes: [n1]\n")), Nodes: []string{"n1"}}, nil))))
	g.ok(g.apply(n1, owner, "acme", 3, "n1", "n2"))
	g.until(n1, "what this version can read counts again", func(s Snapshot) bool {
		return s.Networks["acme"] != nil && s.Networks["acme"].Document.Revision == 3 && len(s.Problems) == 0
	})
}

// TestNewerNode: a node whose record is of a newer version is in the list of all with the
// reason why nothing is known of it, and keeps nobody else out of it.
func TestNewerNode(t *testing.T) {
	t.Parallel()
	g := single(t, 3)
	n1 := g.open(1)
	g.publish(n1)
	g.publish(g.open(2))
	const key = root + "nodes/n2/record"
	g.rawPut(key, strings.Replace(g.rawGet(key), `"version":1`, `"version":2`, 1))
	list, err := n1.Nodes(t.Context())
	g.ok(err)
	for _, n := range list {
		problem, newer := errors.AsType[*VersionError](n.Problem)
		switch {
		case n.Name == "n1" && (n.Problem != nil || n.Record == nil), n.Name == "n3" && n.Problem != nil:
			t.Errorf("of %s: %+v", n.Name, n)
		case n.Name == "n2" && (!newer || problem.Version != 2 || n.Record != nil || !strings.Contains(n.Problem.Error(), key)):
			t.Errorf("of n2: record %v, %v", n.Record, n.Problem)
		}
	}
	if len(list) != 3 {
		t.Errorf("of three nodes there are %d", len(list))
	}
}

// TestTooLarge: what is more than etcd takes in a transaction says so, and which flags of
// an etcd bound it.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	g := single(t, 1)
	c := g.open(1)
	err := c.change(t.Context(), "register 2001:db8::/48", func(ch *change) error {
		ch.revision = 1
		for range 1<<14 + 1 { // two of each of 8,192 nodes, and one
			ch.unchanged(nodeRoot("n2"))
		}
		ch.delete(Key{Kind: KindRecord, Node: "n1"})
		return nil
	})
	if !errors.Is(err, rpctypes.ErrTooManyOps) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"register 2001:db8::/48: ", "compares 16385 keys or ranges and changes 1", "--max-txn-ops 16384", "128 of each"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want it to say %s", err, want)
		}
	}
}
