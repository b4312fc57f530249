package controlplane

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/zosnet/zosnet/pkg/grid"
	"github.com/zosnet/zosnet/pkg/grid/control"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/trust"
	"github.com/zosnet/zosnet/pkg/wireguard"
)

// knows tells whether the control interface answers whoever has a key.
func knows(t *testing.T, p *Plane, key trust.ControlKey) bool {
	t.Helper()
	status, err := p.devices.Read(control.Name(p.node().Name))
	check(t, err)
	return slices.ContainsFunc(status.Peers, func(s wireguard.PeerStatus) bool { return s.PublicKey == wireguard.PublicKey(key) })
}

// candidate is a node that wants to get in.
func candidate(name string) grid.Candidate {
	return grid.Candidate{Node: name, Key: must(trust.NewNodeKey()), ControlKey: trust.ControlKey(wireguard.NewPrivateKey().Public())}
}

// A token is good when it is printed: whoever has it is answered at the first packet, as
// a guest, and as a node when it is told that it is one. Nobody waits for WireGuard's
// second attempt, which comes five seconds later. It is good once, and until it is taken
// back.
func TestTokens(t *testing.T) {
	p := founder(t)
	ctx := t.Context()

	token, err := p.MakeToken(ctx, time.Hour)
	check(t, err)
	if !knows(t, p, token.PeerPublicKey()) {
		t.Error("the token is there before its peer")
	}
	n2 := candidate("n2")
	if _, err := grid.Join(ctx, token, n2, time.Now()); err != nil {
		t.Fatal(err)
	}
	if !knows(t, p, n2.ControlKey) {
		t.Error("the node is in before it is a peer")
	}
	if _, err := grid.Join(ctx, token, candidate("n3"), time.Now()); !errors.Is(err, trust.ErrToken) {
		t.Errorf("the token a second time: %v", err)
	}

	t.Run("revoked", func(t *testing.T) {
		lost, err := p.MakeToken(ctx, time.Hour)
		check(t, err)
		check(t, p.RevokeToken(ctx, lost.ID()))
		if knows(t, p, lost.PeerPublicKey()) {
			t.Error("its peer is still there")
		}
		if _, err := grid.Join(ctx, lost, candidate("n3"), time.Now()); !errors.Is(err, trust.ErrToken) {
			t.Errorf("it lets a node in: %v", err)
		}
		again := p.RevokeToken(ctx, lost.ID())
		if _, is := errors.AsType[*registry.NotFoundError](again); !is {
			t.Errorf("revoked again: %v", again)
		}
		if !knows(t, p, n2.ControlKey) {
			t.Error("another peer went with it")
		}
	})
	t.Run("a used one stays", func(t *testing.T) {
		err := p.RevokeToken(ctx, token.ID())
		if _, is := errors.AsType[*RefusedError](err); !is || !strings.Contains(err.Error(), "node remove n2") {
			t.Errorf("got %v, want one that says what to do", err)
		}
	})
	t.Run("expired", func(t *testing.T) {
		old, err := trust.NewToken(token.TokenAddress, time.Now().Add(-time.Second))
		check(t, err)
		check(t, p.Registry().PutToken(ctx, old.Pending()))
		if _, err := grid.Join(ctx, old, candidate("n3"), time.Now()); !errors.Is(err, trust.ErrToken) {
			t.Errorf("it lets a node in: %v", err)
		}
		if knows(t, p, old.PeerPublicKey()) {
			t.Error("it has a peer")
		}
	})
	t.Run("listed", func(t *testing.T) {
		fresh, err := p.MakeToken(ctx, time.Hour)
		check(t, err)
		list, err := p.Tokens(ctx)
		check(t, err)
		of := map[string]trust.PendingToken{}
		for _, pending := range list {
			of[pending.ID] = pending
			for _, secret := range []string{fresh.Secret(), token.Secret()} {
				if strings.Contains(fmt.Sprintf("%+v", pending), secret) {
					t.Error("the list shows a secret")
				}
			}
		}
		if is, there := of[fresh.ID()]; !there || is.Used != nil || !is.Expires.Equal(fresh.Expires) {
			t.Errorf("the unused one: %+v", is)
		}
		if is := of[token.ID()]; is.Used == nil || is.Used.Node != "n2" {
			t.Errorf("the used one: %+v", is)
		}
		if len(list) != 3 { // the expired one, too
			t.Errorf("%d tokens: %+v", len(list), list)
		}
	})
	t.Run("forgotten a day after their end", func(t *testing.T) {
		now := time.Now()
		for id, end := range map[string]time.Time{"aaaa": now.Add(-tokenMemory + time.Hour), "bbbb": now.Add(-tokenMemory - time.Hour)} {
			check(t, p.Registry().PutToken(ctx, trust.PendingToken{ID: id, Hash: []byte{1}, Peer: trust.ControlKey{1}, Expires: end}))
		}
		_, err := p.MakeToken(ctx, time.Hour)
		check(t, err)
		list, err := p.Tokens(ctx)
		check(t, err)
		for id, want := range map[string]bool{"aaaa": true, "bbbb": false} {
			if is := slices.ContainsFunc(list, func(t trust.PendingToken) bool { return t.ID == id }); is != want {
				t.Errorf("token %s is there: %v, want %v", id, is, want)
			}
		}
	})
	t.Run("many at the same moment", func(t *testing.T) {
		const count = 8
		candidates, tokens := make([]grid.Candidate, count), make([]*trust.Token, count)
		for i := range candidates {
			candidates[i] = candidate(fmt.Sprintf("m%d", i))
			tokens[i], err = p.MakeToken(ctx, time.Hour)
			check(t, err)
		}
		var joins errgroup.Group
		for i, c := range candidates {
			joins.Go(func() error {
				_, err := grid.Join(ctx, tokens[i], c, time.Now())
				return err
			})
		}
		if err := joins.Wait(); err != nil {
			t.Error(err)
		}
		for _, c := range candidates {
			if !knows(t, p, c.ControlKey) {
				t.Errorf("node %s is in and no peer", c.Node)
			}
		}
	})
}

// Nobody but a node that has the CA's key, and is in a grid, has tokens.
func TestTokensWithoutAGrid(t *testing.T) {
	p := newHost(t).plane(t)
	_, made := p.MakeToken(t.Context(), time.Hour)
	_, listed := p.Tokens(t.Context())
	for what, err := range map[string]error{"made": made, "listed": listed, "revoked": p.RevokeToken(t.Context(), "1234")} {
		if !errors.Is(err, ErrNoGrid) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
