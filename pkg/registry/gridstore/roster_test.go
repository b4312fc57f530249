package gridstore

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/zosnet/zosnet/pkg/trust"
)

// TestRoster: who gets in, with a token and without, what no two can have, and who
// hears of it.
func TestRoster(t *testing.T) {
	t.Parallel()
	g := single(t, 1)
	ctx := t.Context()
	n1 := g.open(1)
	g.ok(g.root().PutMember(ctx, "n1", g.client(1), nil))
	made := must(trust.NewToken(trust.TokenAddress{
		CA: g.ca.Fingerprint(), ControlKey: g.node(1).identity.ControlKey, Service: netip.AddrPortFrom(controlAddress(1), 1),
		Endpoints: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:51820")},
	}, time.Now().Add(time.Hour))).Pending()
	g.ok(n1.PutToken(ctx, made))
	s := g.until(n1, "its token", func(s Snapshot) bool { return s.Nodes["n1"] != nil && len(s.Nodes["n1"].Tokens) == 1 })
	if s.Nodes["n1"].Tokens[0].ID != made.ID || s.Nodes["n1"].Member != g.client(1) {
		t.Errorf("n1 of itself: %+v", s.Nodes["n1"])
	}
	kept, err := n1.Token(ctx, made.ID)
	if err != nil || kept == nil || kept.Used != nil {
		t.Fatalf("the token: %+v, %v", kept, err)
	}

	admit := func(n, address int, token trust.PendingToken) error {
		node := g.node(n)
		a := Admission{Node: node.name, Address: controlAddress(address), ControlKey: node.identity.ControlKey, Admitted: time.Now()}
		used := token.Use(g.request(n), time.Now())
		return g.root().Admit(ctx, a, node.pem, "n1", &used)
	}
	g.ok(admit(2, 2, *kept))
	g.ok(admit(2, 2, *kept)) // its answer was lost
	if err := admit(3, 3, *kept); !errors.Is(err, ErrStale) {
		t.Errorf("the token was used twice: %v", err)
	}
	unknown := *kept
	unknown.ID = "0000"
	if err := admit(3, 3, unknown); !errors.Is(err, ErrStale) {
		t.Errorf("a token that nobody made: %v", err)
	}
	for what, a := range map[string]Admission{
		"the node name":       {Node: "n2", Address: controlAddress(3), ControlKey: g.node(3).identity.ControlKey},
		"the control address": {Node: "n3", Address: controlAddress(2), ControlKey: g.node(3).identity.ControlKey},
		"the control key":     {Node: "n3", Address: controlAddress(3), ControlKey: g.node(2).identity.ControlKey},
	} {
		err := g.root().Admit(ctx, a, g.node(3).pem, "", nil)
		if taken, is := errors.AsType[*TakenError](err); !is || taken.By != "n2" {
			t.Errorf("%s twice: %v", what, err)
		}
	}
	g.until(n1, "n1 is a member and hears of n2", func(s Snapshot) bool {
		n := s.Nodes["n2"]
		return n != nil && n.Identity != nil && n.Admitted != nil && n.Admitted.Address == controlAddress(2)
	})
	n2 := g.open(2)
	s = g.until(n2, "the members", func(s Snapshot) bool { return s.Nodes["n1"] != nil && s.Nodes["n1"].Identity != nil })
	if s.Nodes["n1"].Member != g.client(1) || len(s.Nodes["n1"].Tokens) != 0 || s.Nodes["n1"].Admitted != nil {
		t.Errorf("n1 at n2: %+v", s.Nodes["n1"])
	}
	if pem, err := n2.Certificate(ctx, "n2"); err != nil || string(pem) != string(g.node(2).pem) {
		t.Errorf("its certificate: %v", err)
	}
	renewed := append(must(g.ca.Issue(g.request(2), controlAddress(2), time.Now())), g.node(2).pem...)
	g.ok(g.root().Renew(ctx, "n2", g.node(2).identity.ControlKey, renewed))
	if err := g.root().Renew(ctx, "n2", g.node(1).identity.ControlKey, renewed); !errors.Is(err, ErrStale) {
		t.Errorf("renewed with another's key: %v", err)
	}
	list, err := n2.Roster(ctx)
	if err != nil || len(list) != 2 || list[1].Node != "n2" || list[1].ControlKey != g.node(2).identity.ControlKey {
		t.Errorf("the roster: %+v, %v", list, err)
	}
	var used *TokenUsedError
	if err := n1.RevokeToken(ctx, made.ID); !errors.As(err, &used) || used.Node != "n2" {
		t.Errorf("a used token was taken back: %v", err)
	}
	another := trust.PendingToken{ID: "00ff", Hash: made.Hash, Peer: made.Peer, Expires: made.Expires}
	g.ok(n1.PutToken(ctx, another))
	if list, err := n1.Tokens(ctx); err != nil || len(list) != 2 || list[0].ID != another.ID && list[1].ID != another.ID {
		t.Errorf("the tokens of n1: %+v, %v", list, err)
	}
	if list, err := n2.Tokens(ctx); err != nil || len(list) != 0 {
		t.Errorf("the tokens of n2: %+v, %v", list, err)
	}
	g.ok(n1.RevokeToken(ctx, another.ID))
	g.ok(n1.RevokeToken(ctx, another.ID)) // it was not known whether it was done
	if err := admit(3, 3, another); !errors.Is(err, ErrStale) {
		t.Errorf("a token that was taken back: %v", err)
	}
	g.ok(n1.DeleteToken(ctx, made.ID))
	if gone, err := n1.Token(ctx, made.ID); gone != nil || err != nil {
		t.Errorf("the token stays: %v, %v", gone, err)
	}
}

// TestForeignEtcd: an etcd that somebody else runs is administered by whoever has
// its role root there.
func TestForeignEtcd(t *testing.T) {
	t.Parallel()
	open := newGrid(t)
	open.start(1, nil)
	if err := open.root().Protected(t.Context()); !errors.Is(err, ErrUnprotected) {
		t.Errorf("of an etcd that lets everybody in: %v", err)
	}
	g := single(t, 1)
	g.asRoot(func(ctx context.Context, etcd *clientv3.Client) error {
		_, err := etcd.UserGrantRole(ctx, "n1", rootRole)
		return err
	})
	etcd := g.etcd(1)
	root := RootClient(etcd)
	g.ok(root.Protected(t.Context()))
	node := g.node(2)
	g.ok(root.Admit(t.Context(), Admission{Node: "n2", Address: controlAddress(2), ControlKey: node.identity.ControlKey}, node.pem, "", nil))
	n2 := g.open(2)
	g.ok(n2.PutRecord(t.Context(), Record{Class: "dc-dual"}))
	g.ok(root.Expel(t.Context(), "n2"))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := n2.PutRecord(ctx, Record{Class: "dc-ipv4"}); err == nil {
		t.Error("node n2 was expelled and writes")
	}
}
