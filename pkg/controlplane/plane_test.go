package controlplane

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zosnet/zosnet/pkg/grid"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
	"github.com/zosnet/zosnet/pkg/trust"
)

// joined is a node that was let in and whose daemon does not run.
func joined(t *testing.T, p *Plane, name string) grid.Candidate {
	t.Helper()
	c, _ := admitted(t, p, name)
	return c
}

// admitted is joined with what the node was given.
func admitted(t *testing.T, p *Plane, name string) (grid.Candidate, *grid.Membership) {
	t.Helper()
	token, err := p.MakeToken(t.Context(), time.Hour)
	check(t, err)
	c := candidate(name)
	m, err := grid.Join(t.Context(), token, c, time.Now())
	check(t, err)
	return c, m
}

// comes has a node speak to the registry from now on, as its daemon does.
func comes(t *testing.T, p *Plane, c grid.Candidate, m *grid.Membership) {
	t.Helper()
	own := must(c.Key.TLS(m.Certificate))
	client, err := gridstore.Open(gridstore.Config{
		Node: c.Node, Key: c.Key, Roots: m.Roots, Identity: must(m.Roots.Identity(c.Node, m.Certificate)),
		Endpoints: registryEndpoints(p.State().Members), Log: slog.New(slog.DiscardHandler),
		TLS: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: m.Roots.Pool(), ServerName: trust.MemberHostname, Certificates: []tls.Certificate{own}},
	})
	check(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); client.KeepLive(ctx, gridstore.LiveTTL) }()
	t.Cleanup(func() {
		cancel()
		<-ended
		check(t, client.Close())
	})
	check(t, client.PutRecord(t.Context(), gridstore.Record{ControlPublicKey: c.ControlKey.String(), ControlAddress: m.Address}))
}

// A node that comes while it is promoted is waited for; here it says then that it could
// not be reached.
func TestPromotionWaits(t *testing.T) {
	p := founder(t)
	c, m := admitted(t, p, "n2")
	refused := make(chan error, 1)
	go func() {
		_, err := p.Promote(t.Context(), "n2")
		refused <- err
	}()
	comes(t, p, c, m)
	if err := <-refused; err == nil || !strings.Contains(err.Error(), "names no endpoint") {
		t.Errorf("got %v", err)
	}
}

// impatient asks with little time, and with more until the answer is the one to be had:
// what comes before it takes as long as the machine is busy.
func impatient(ctx context.Context, want any, ask func(context.Context) error) (err error) {
	for wait := 500 * time.Millisecond; wait < patience; wait *= 2 {
		ctx, cancel := context.WithTimeout(ctx, wait)
		err = ask(ctx)
		cancel()
		if errors.As(err, want) {
			break
		}
	}
	return err
}

// What a node in a grid refuses, and what it does not find, it says as such: whoever asks
// can tell it from what went wrong.
func TestRefused(t *testing.T) {
	p := founder(t)
	ctx, self := t.Context(), p.State().Node
	joined(t, p, "n2")
	token, err := p.MakeToken(ctx, time.Hour)
	check(t, err)

	var refused *RefusedError
	var missing *registry.NotFoundError
	for name, test := range map[string]struct {
		ask  func() error
		want any
	}{
		"a second grid":        {func() error { _, err := p.Found(); return err }, &refused},
		"another grid":         {func() error { _, err := p.Join(ctx, token); return err }, &refused},
		"the last member goes": {func() error { _, err := p.Demote(ctx, self); return err }, &refused},
		"nobody goes":          {func() error { _, err := p.Demote(ctx, "n9"); return err }, &missing},
		"a node that does not run comes": {func() error {
			return impatient(ctx, &refused, func(ctx context.Context) error { _, err := p.Promote(ctx, "n2"); return err })
		}, &refused},
		"nobody comes":                    {func() error { _, err := p.Promote(ctx, "n9"); return err }, &missing},
		"a node takes itself out":         {func() error { return p.Expel(ctx, self) }, &refused},
		"a node that is not there is out": {func() error { return p.Expel(ctx, "n9") }, &missing},
	} {
		t.Run(name, func(t *testing.T) {
			if err := test.ask(); !errors.As(err, test.want) {
				t.Errorf("got %v", err)
			}
		})
	}
	members, err := p.Members(ctx)
	check(t, err)
	if len(members.List) != 1 || members.List[0].Node != self || members.List[0].Role != "leader" || len(members.Warnings) != 1 {
		t.Errorf("the members: %+v", members)
	}
}

// Who asks twice at once makes one grid, whose files belong together.
func TestFoundAtOnce(t *testing.T) {
	p := newHost(t).plane(t)
	const times = 8
	made := make(chan *grid.State, times)
	var all sync.WaitGroup
	for range times {
		all.Go(func() {
			if state, err := p.Found(); err == nil {
				made <- state
			}
		})
	}
	all.Wait()
	if len(made) != 1 {
		t.Fatalf("%d grids were made", len(made))
	}
	state := <-made
	kept, err := p.home.State()
	check(t, err)
	if kept.Address != state.Address || p.State().Address != state.Address {
		t.Errorf("made at %v, kept at %v, known at %v", state.Address, kept.Address, p.State().Address)
	}
	if _, err := p.home.CA(); err != nil {
		t.Error(err)
	}
	if id, err := p.readIdentity(state.Node); err != nil || id.Address != state.Address {
		t.Errorf("its certificate: %v", err)
	}
}

// A founding of which only the files were written is finished by the next daemon.
func TestFoundingIsFinished(t *testing.T) {
	h := newHost(t)
	made, err := h.plane(t).Found()
	check(t, err)
	p := h.plane(t)
	if state := p.State(); state == nil || !state.Founding {
		t.Fatalf("what is left of it: %+v", state)
	}
	run(t, p)
	up(t, p)
	if state := p.State(); state.Founding || state.Address != made.Address {
		t.Errorf("begun as %+v, finished as %+v", made, state)
	}
}

// The next daemon of a member finds everything as it was, and until it does its nodes stay
// its peers.
func TestRestart(t *testing.T) {
	h := newHost(t)
	p := h.plane(t)
	stop := run(t, p)
	_, err := p.Found()
	check(t, err)
	up(t, p)
	n2 := joined(t, p, "n2")
	stop()
	if !knows(t, p, n2.ControlKey) {
		t.Error("a node is no peer while no daemon runs")
	}

	p = h.plane(t)
	check(t, p.firstInterface(must(p.readIdentity(p.State().Node)), p.State()))
	if !knows(t, p, n2.ControlKey) {
		t.Error("a node is no peer before the registry is there")
	}
	run(t, p)
	up(t, p)
	tokens, err := p.Tokens(t.Context())
	check(t, err)
	if len(tokens) != 1 || tokens[0].Used == nil || tokens[0].Used.Node != "n2" {
		t.Errorf("the tokens are %+v", tokens)
	}
	joined(t, p, "n3")
	if !knows(t, p, n2.ControlKey) {
		t.Error("a node is no peer any more")
	}
}

// Who is taken out of the grid is no peer any more, and its name is free.
func TestExpel(t *testing.T) {
	p := founder(t)
	ctx := t.Context()
	n2 := joined(t, p, "n2")
	check(t, p.Expel(ctx, "n2"))
	if err := p.untilPeer(ctx, n2.ControlKey, false); err != nil {
		t.Error(err)
	}
	if again := joined(t, p, "n2"); !knows(t, p, again.ControlKey) {
		t.Error("another node of that name is no peer")
	}
}

// A renewed certificate is used from then on, and makes no less of a member.
func TestRenewal(t *testing.T) {
	p := founder(t)
	if _, err := p.MakeToken(t.Context(), time.Hour); err != nil { // the service listens then
		t.Fatal(err)
	}
	before := p.own.Load()
	check(t, p.renew(t.Context(), before))
	after := p.own.Load()
	if string(after.pem) == string(before.pem) || !after.Member || after.Valid(time.Now()) != nil || after.ControlKey != before.ControlKey {
		t.Errorf("was %+v, is %+v", before.Identity, after.Identity)
	}
	if _, pem, err := p.home.Node(); err != nil || string(pem) != string(after.pem) {
		t.Errorf("it is not kept: %v", err)
	}
	if _, err := trust.Newest(after.pem); err != nil {
		t.Error(err)
	}
}

// What the members answer and what the registry shows are the same certificate, and
// come in the same moment: neither is in the other's way, and none is followed by an
// older one.
func TestRenewalsAtOnce(t *testing.T) {
	p := founder(t)
	_, err := p.MakeToken(t.Context(), time.Hour) // the service listens then
	check(t, err)
	before := p.own.Load()
	var certificates [][]byte
	for range 4 {
		certificates = append(certificates, must(p.askRenewal(t.Context(), before)))
	}
	const times = 16
	kept := make(chan error)
	for i := range times {
		go func() {
			_, err := p.keepCertificate(certificates[i%len(certificates)])
			kept <- err
		}()
	}
	for range times {
		if err := <-kept; err != nil {
			t.Error(err)
		}
	}
	after := p.own.Load()
	newest := must(after.roots.Identity(before.Node, certificates[len(certificates)-1]))
	if after.Expires.Before(newest.Expires) {
		t.Errorf("the certificate in use expires at %v, the newest at %v", after.Expires, newest.Expires)
	}
	if _, pem, err := p.home.Node(); err != nil || string(pem) != string(after.pem) {
		t.Errorf("what is used is not what is kept: %v", err)
	}
}
