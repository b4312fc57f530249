package gridstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/trust"
)

// TestGarbage: what a registry may answer. Each is told by its key, what was
// believed before stays, and everything else works.
func TestGarbage(t *testing.T) {
	t.Parallel()
	g := single(t, 2)
	n1, n2 := g.open(1), g.open(2)
	owner := must(trust.NewOwnerKey())
	g.publish(n1)
	g.ok(g.apply(n1, owner, "acme", 1, "n1", "n2"))
	g.part(n1, "acme")
	g.ok(n1.PutAttachment(t.Context(), "acme", Attachment{Workload: "web-1", Service: "web", Kind: "netns", Host: 5}))
	g.until(n2, "acme", func(s Snapshot) bool {
		return s.Networks["acme"] != nil && len(s.Networks["acme"].Attachments["n1"]) == 1
	})
	const (
		record     = root + "nodes/n1/record"
		attachment = root + "nodes/n1/attachments/acme/web-1"
		document   = root + "networks/acme"
	)
	oldRecord, oldDocument := g.rawGet(record), g.rawGet(document)
	g.ok(n1.PutRecord(t.Context(), Record{Class: "home-ipv4"}))
	g.ok(g.apply(n1, owner, "acme", 2, "n1", "n2"))
	g.until(n2, "the newer ones", func(s Snapshot) bool {
		return s.Nodes["n1"].Record.Class == "home-ipv4" && s.Networks["acme"].Document.Revision == 2
	})
	stranger := newGrid(t)
	foreign := string(must(stranger.node(1).key.Sign("n1", trust.KindRecord, "nodes/n1/record", 1<<60, []byte(`{"version":1}`))))
	elsewhere := string(must(g.node(1).key.Sign("n1", trust.KindAttachment, "nodes/n1/attachments/acme/web-2", 1<<60, []byte(`{"version":1}`))))
	otherOwner := must(encode(&Document{Document: must(must(trust.NewOwnerKey()).Sign("acme", 9, "network: acme\n")), Nodes: []string{"n1"}}, nil))
	tests := []struct {
		name, key, value string
		want             error
	}{
		{"not JSON", record, "{", nil},
		{"an unknown version", record, `{"version":2}`, nil},
		{"an old record again", record, oldRecord, trust.ErrOlder},
		{"a record by another grid's node", record, foreign, trust.ErrSignature},
		{"a value of another key", attachment, elsewhere, trust.ErrOtherKey},
		{"an old document again", document, oldDocument, trust.ErrOlder},
		{"a document by another owner", document, string(otherOwner), trust.ErrOtherOwner},
		{"a certificate by nobody", root + "nodes/n1/certificate", `{"version":1,"pem":"x"}`, trust.ErrMalformed},
		{"a key that nobody knows", root + "nodes/n2/surprise", "1", errUnknownKey},
		{"a network's name that is none", root + "spans/n2/Not-A-Name", `{"version":1}`, nil},
	}
	var s Snapshot
	for _, tt := range tests {
		g.rawPut(tt.key, tt.value)
		s = g.until(n2, tt.name, func(s Snapshot) bool {
			for _, p := range s.Problems {
				if p.Key == tt.key && (tt.want == nil || errors.Is(p.Err, tt.want)) {
					return true
				}
			}
			return false
		})
		if s.Nodes["n1"].Record.Class != "home-ipv4" || s.Networks["acme"].Document.Revision != 2 || len(s.Networks["acme"].Attachments["n1"]) != 1 {
			t.Errorf("%s: it opened a door: %+v", tt.name, s.Networks["acme"])
		}
	}
	g.ok(g.apply(n1, owner, "globex", 1, "n2"))
	g.until(n2, "the rest works", func(s Snapshot) bool { return s.Networks["globex"] != nil })
	if log := g.log.String(); !strings.Contains(log, "not believed") || !strings.Contains(log, record) {
		t.Errorf("the log does not tell:\n%s", log)
	}

	t.Run("after a restart from the cache", func(t *testing.T) {
		before := n2.Snapshot()
		g.close(n2)
		n2 = g.open(2)
		g.until(n2, "the same", func(s Snapshot) bool {
			return s.Source == SourceCluster && s.Nodes["n1"].Record.Class == "home-ipv4" && s.Networks["acme"].Document.Revision == 2 &&
				len(s.Problems) == len(before.Problems)
		})
	})
	t.Run("put right", func(t *testing.T) {
		g.asRoot(func(ctx context.Context, etcd *clientv3.Client) error {
			for _, tt := range tests {
				if _, err := etcd.Delete(ctx, tt.key); err != nil {
					return err
				}
			}
			return nil
		})
		g.until(n2, "a document ends by its owner's word only", func(s Snapshot) bool {
			return len(s.Problems) == 1 && errors.Is(s.Problems[0].Err, ErrMissing) && s.Networks["acme"] != nil && s.Networks["acme"].Attachments["n1"] == nil
		})
		g.ok(g.apply(n1, owner, "acme", 3, "n1", "n2"))
		g.until(n2, "no problems", func(s Snapshot) bool { return len(s.Problems) == 0 && s.Networks["acme"].Document.Revision == 3 })
		g.rawPut(record, oldRecord)
		g.rawPut(root+"nodes/n1/certificate", string(must(encode(&certificate{PEM: string(g.node(1).pem)}, nil))))
		g.ok(g.apply(n1, owner, "globex", 2, "n1", "n2"))
		g.until(n2, "a record that was taken back does not come again", func(s Snapshot) bool {
			return len(s.Problems) == 1 && errors.Is(s.Problems[0].Err, trust.ErrOlder) && s.Nodes["n1"].Record == nil
		})
	})
}

// TestCutOff: a client that was away catches up, by watching where etcd has the
// history, else by reading everything; and from the cache with no cluster at all.
func TestCutOff(t *testing.T) {
	t.Parallel()
	g := single(t, 2)
	ctx := t.Context()
	n1, n2 := g.open(1), g.open(2)
	owner := must(trust.NewOwnerKey())
	g.publish(n1)
	g.ok(g.apply(n1, owner, "acme", 1, "n1", "n2"))
	g.part(n1, "acme")
	known := g.until(n2, "acme", func(s Snapshot) bool { return s.Networks["acme"] != nil && s.Networks["acme"].Parts["n1"] != nil })
	attach := func(name string) {
		t.Helper()
		g.ok(n1.PutAttachment(ctx, "acme", Attachment{Workload: name, Service: "web", Kind: "netns", Host: 5}))
	}
	count := func(n int) func(Snapshot) bool {
		return func(s Snapshot) bool {
			return s.Source == SourceCluster && len(s.Networks["acme"].Attachments["n1"]) == n
		}
	}
	compact := func() {
		t.Helper()
		g.asRoot(func(ctx context.Context, etcd *clientv3.Client) error {
			resp, err := etcd.Get(ctx, root+"x")
			if err == nil {
				_, err = etcd.Compact(ctx, resp.Header.Revision)
			}
			return err
		})
	}
	nowhere := func(c *Config) { c.Endpoints = []string{"https://[fd00:7a6f::9]:1"} }
	cache := filepath.Join(g.dir, "n2/cache.db")

	t.Run("comes back", func(t *testing.T) {
		g.close(n2)
		attach("web-1")
		attach("web-2")
		g.ok(n1.DeleteAttachment(ctx, "acme", "web-2"))
		n2 = g.open(2)
		g.until(n2, "what happened meanwhile", count(1))
	})
	t.Run("comes back after a compaction", func(t *testing.T) {
		g.close(n2)
		attach("web-2")
		g.ok(n1.DeleteAttachment(ctx, "acme", "web-1"))
		attach("web-3")
		compact()
		n2 = g.open(2)
		s := g.until(n2, "what happened meanwhile", count(2))
		if list := s.Networks["acme"].Attachments["n1"]; list[0].Workload != "web-2" || list[1].Workload != "web-3" {
			t.Errorf("attachments %+v", list)
		}
	})
	t.Run("starts from the cache with no cluster", func(t *testing.T) {
		g.close(n2)
		n2 = g.open(2, nowhere)
		s := n2.Snapshot()
		if s.Source != SourceCache || s.Revision <= known.Revision || time.Since(s.Confirmed) > time.Minute {
			t.Errorf("%s, revision %d, confirmed %s", s.Source, s.Revision, s.Confirmed)
		}
		if s.Networks["acme"] == nil || len(s.Networks["acme"].Attachments["n1"]) != 2 || s.Nodes["n1"].Identity == nil || s.Nodes["n1"].Record.Class != "dc-dual" {
			t.Errorf("the cache has %+v", s.Networks["acme"])
		}
		if info, err := os.Stat(cache); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the cache: %v, %v", info, err)
		}
		attach("web-4")
		n2.SetEndpoints(g.endpoints())
		g.until(n2, "the cluster", count(3))
	})
	t.Run("the member restarts", func(t *testing.T) {
		g.ok(g.members[1].Close())
		g.start(1, nil)
		attach("web-5")
		g.until(n2, "what happened since", count(4))
	})
	t.Run("a broken cache is set aside", func(t *testing.T) {
		for what, breakIt := range map[string]func([]byte) []byte{
			"garbage":     func([]byte) []byte { return []byte(strings.Repeat("garbage ", 4096)) },
			"cut in half": func(b []byte) []byte { return b[:len(b)/2] },
			"a changed byte": func(b []byte) []byte {
				i := strings.LastIndex(string(b), `dc-dual`)
				b = append([]byte{}, b...)
				for ; i >= 0; i = strings.LastIndex(string(b), `dc-dual`) {
					b[i] = 'x'
				}
				return b
			},
			"pages of zeros": func(b []byte) []byte { return append(append([]byte{}, b[:8192]...), make([]byte, len(b)-8192)...) },
		} {
			g.close(n2)
			raw, err := os.ReadFile(cache)
			g.ok(err)
			g.ok(os.WriteFile(cache, breakIt(raw), 0o600))
			n2 = g.open(2)
			g.until(n2, what, count(4))
			aside, err := os.ReadFile(cache + ".broken")
			if err != nil || len(aside) == 0 {
				t.Errorf("%s: it is not set aside: %v", what, err)
			}
			g.ok(os.Remove(cache + ".broken"))
			if !strings.Contains(g.log.String(), "is set aside") {
				t.Errorf("%s: the log does not tell", what)
			}
		}
	})
	t.Run("a cache of a newer zosnet", func(t *testing.T) {
		g.close(n2)
		db := must(bbolt.Open(cache, 0o600, nil))
		g.ok(db.Update(func(tx *bbolt.Tx) error {
			var m meta
			key := root + "nodes/n2/surprise"
			err := errors.Join(json.Unmarshal(tx.Bucket(metaBucket).Get(metaKey), &m), tx.Bucket(valuesBucket).Put([]byte(key), pack(key, 1, []byte("1"))))
			m.Entries[string(valuesBucket)]++
			return errors.Join(err, tx.Bucket(metaBucket).Put(metaKey, must(json.Marshal(m))))
		}))
		g.ok(db.Close())
		n2 = g.open(2, nowhere)
		if s := n2.Snapshot(); s.Source != SourceCache || s.Networks["acme"] == nil || len(s.Problems) != 1 || !errors.Is(s.Problems[0].Err, errUnknownKey) {
			t.Errorf("from the cache: %s, networks %v, problems %v", s.Source, names(s.Networks), s.Problems)
		}
	})
	t.Run("another cluster", func(t *testing.T) {
		g.close(n2)
		other := single(t, 2)
		other.ca, other.roots, other.nodes = g.ca, g.roots, g.nodes // as if the grid's registry was lost and made anew
		g.ok(other.members[1].Close())
		other.start(1, nil)
		n2 = other.open(2, func(c *Config) { c.CacheFile = cache })
		other.until(n2, "nothing of the old one", func(s Snapshot) bool { return s.Source == SourceCluster && s.Networks["acme"] == nil })
		other.close(n2)
	})
}

// TestLive: others see that a node is live, that it leaves, and that it dies.
func TestLive(t *testing.T) {
	t.Parallel()
	g := single(t, 2)
	n1, n2 := g.open(1), g.open(2)
	g.ok(g.apply(n1, must(trust.NewOwnerKey()), "acme", 1, "n1", "n2"))
	live := func(want bool) func(Snapshot) bool {
		return func(s Snapshot) bool { return s.Nodes["n1"] != nil && s.Nodes["n1"].Live == want }
	}
	ctx, leave := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); n1.KeepLive(ctx, LiveTTL) }()
	g.until(n2, "n1 is live", live(true))
	leave()
	<-done
	g.until(n2, "n1 has left", live(false))

	ctx, leave = context.WithCancel(t.Context())
	done = make(chan struct{})
	go func() { defer close(done); n1.KeepLive(ctx, 8*time.Second) }()
	g.until(n2, "n1 is live again", live(true))
	time.Sleep(10 * time.Second) // longer than the lease: it is kept
	if !live(true)(n2.Snapshot()) {
		t.Error("n1's lease was not kept alive")
	}
	g.close(n1) // dies: it cannot take its lease back
	g.until(n2, "n1's lease has ended", live(false))
	leave()
	<-done
}

// TestLeaderKilled applies documents over three members while their leader is
// killed: whoever got an answer is right, and nobody waits for long.
func TestLeaderKilled(t *testing.T) {
	t.Parallel()
	g := single(t, 2)
	g.join(1, 3, func(n int, members map[string]netip.AddrPort) { g.start(n, members) })
	var kill func()
	g.join(3, 2, func(n int, members map[string]netip.AddrPort) { kill = g.spawn(n, members) })
	g.giveLead("n2")
	everywhere := func(c *Config) { c.Endpoints = g.endpoints(1, 2, 3) }
	n1, n2 := g.open(1, everywhere), g.open(2, everywhere)
	owner := must(trust.NewOwnerKey())
	stored := make(chan int, 1000)
	failed := make(chan error, 1000)
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		defer close(stored)
		for i := 0; ctx.Err() == nil; i++ {
			if err := g.apply(n1, owner, fmt.Sprintf("net-%d", i), 1, "n1", "n2"); err != nil {
				failed <- err
				return
			}
			stored <- i
		}
	}()
	for range 10 {
		<-stored
	}
	if g.leads() {
		t.Fatal("the member that is to be killed does not lead")
	}
	kill()
	killed := time.Now()
	for n := len(stored) + 11; n > 0; n-- { // that many began before or after it was killed, and the last ten after
		select {
		case <-stored:
		case err := <-failed:
			t.Fatal(err)
		case <-time.After(patience):
			t.Fatal("nothing is applied any more")
		}
	}
	t.Logf("the next 10 applies took %s after the leader was killed", time.Since(killed).Round(time.Millisecond))
	stop()
	last := 0
	for i := range stored {
		last = i
	}
	if last == 0 || len(failed) > 0 && ctx.Err() == nil {
		t.Fatalf("applied up to %d, then %d failed", last, len(failed))
	}
	g.until(n2, "all that was applied", func(s Snapshot) bool {
		for i := range last + 1 {
			if s.Networks[fmt.Sprintf("net-%d", i)] == nil {
				return false
			}
		}
		return true
	})

	bounded, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	if err := g.members[1].Remove(bounded, g.peer(3)); !errors.Is(err, registry.ErrMajority) {
		t.Errorf("one of the last two of three is taken out: %v", err)
	}
	g.ok(g.members[1].Remove(t.Context(), g.peer(2))) // the dead one
	g.ok(g.apply(n1, owner, "last", 1, "n1"))
}
