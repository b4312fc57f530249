package gridstore

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/trust"
)

// TestMajorityLost: of three members two are lost, and the third, which had missed the
// last changes, goes on alone. A node that had heard of those takes what the third has.
// The lost ones come back, both at once, and are members of nothing.
func TestMajorityLost(t *testing.T) {
	t.Parallel()
	g := single(t, 4)
	ctx := t.Context()
	start := func(n int, members map[string]netip.AddrPort) { g.start(n, members) }
	g.join(1, 2, start)
	g.join(1, 3, start)
	owner := must(trust.NewOwnerKey())
	n4 := g.open(4, func(c *Config) { c.Endpoints = g.endpoints(1, 2) })
	g.ok(g.apply(n4, owner, "kept", 1, "n4"))
	for end := time.Now().Add(patience); g.members[3].Revision() < g.members[1].Revision(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the third member is at revision %d, the first at %d", g.members[3].Revision(), g.members[1].Revision())
		}
	}
	g.ok(g.members[3].Close())
	g.ok(g.apply(n4, owner, "lost", 1, "n4"))
	heard := g.until(n4, "what the third member has not", func(s Snapshot) bool { return s.Networks["lost"] != nil })
	g.close(n4)
	g.ok(g.members[1].Close())
	if standing, serves, err := g.ask(2, 8*time.Second); err != nil || serves || standing.Revision < heard.Revision {
		t.Errorf("the last but one stands at %+v, %v", standing, err)
	}
	g.ok(g.members[2].Close())

	first := g.recover(3)
	if standing, _, err := g.ask(3, 3*time.Second); err == nil {
		t.Errorf("a member that is being recovered answers: %+v", standing)
	}
	number := g.recover(3) // as if it had crashed before the end
	if number <= first {
		t.Errorf("recoveries have the numbers %d, then %d", first, number)
	}
	g.start(3, nil)
	if standing, serves, err := g.ask(3, patience); err != nil || !serves || standing.Recovery != number {
		t.Errorf("the third stands at %+v, %v", standing, err)
	}

	n3 := g.open(3, func(c *Config) { c.Endpoints = g.endpoints(3) })
	for revision := uint64(1); revision == 1 || g.members[3].Revision() <= heard.Revision; revision++ { // as if it was the same history
		g.ok(g.apply(n3, owner, "new", revision, "n4"))
	}
	n4 = g.open(4, func(c *Config) { c.Endpoints = g.endpoints(3) })
	s := g.until(n4, "the third's registry", func(s Snapshot) bool {
		return s.Source == SourceCluster && s.Recovery == number && s.Networks["new"] != nil
	})
	if s.Networks["lost"] != nil || s.Networks["kept"] == nil {
		t.Errorf("it has the networks %v", names(s.Networks))
	}
	if n := s.Nodes["n3"]; n == nil || n.Member != g.client(3) || s.Nodes["n1"] != nil && s.Nodes["n1"].Member.IsValid() {
		t.Errorf("the members are not n3 alone: %v", names(s.Nodes))
	}

	for _, n := range []int{1, 2} {
		m, err := registry.StartMember(ctx, g.config(n, nil), g.log.logger())
		g.ok(err)
		g.members[n] = m
	}
	for _, n := range []int{1, 2} {
		select {
		case <-g.members[n].Failed():
		case <-time.After(patience):
			t.Fatalf("member %d, which was lost, goes on", n)
		}
		if err := g.members[n].Err(); !errors.Is(err, registry.ErrRemoved) {
			t.Errorf("member %d, which was lost: %v", n, err)
		}
		g.ok(g.members[n].Close())
	}

	g.ok(os.RemoveAll(filepath.Join(g.dir, "n2", "etcd")))
	g.join(3, 2, start)
	g.ok(g.apply(n4, owner, "new", must(n4.Document(ctx, "new")).Revision+1, "n4"))
	if standing, serves, err := g.ask(2, patience); err != nil || !serves || standing.Recovery != number {
		t.Errorf("a member that was made again stands at %+v, %v", standing, err)
	}
}

// recover makes member n the only one, from what it has, and gives the recovery's
// number.
func (g *testGrid) recover(n int) (number uint64) {
	g.t.Helper()
	g.ok(registry.RecoverMember(g.t.Context(), g.config(n, nil), g.log.logger(), func(ctx context.Context, m *registry.Member) (err error) {
		number, err = Root(m.AsRoot).Recover(ctx, nodeName(n), g.client(n), time.Now())
		return err
	}))
	return number
}

// ask asks member n alone how it stands, and whether it serves, each for so long: who is
// not to answer or to serve is waited for.
func (g *testGrid) ask(n int, within time.Duration) (s Standing, serves bool, err error) {
	ctx, cancel := context.WithTimeout(g.t.Context(), within)
	defer cancel()
	at := g.endpoints(n)[0]
	if s, err = Ask(ctx, at, g.node(4).tls); err != nil {
		return s, false, err
	}
	ctx, cancel = context.WithTimeout(g.t.Context(), within)
	defer cancel()
	return s, Serves(ctx, at, g.node(4).tls) == nil, nil
}
