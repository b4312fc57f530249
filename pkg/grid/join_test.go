package grid_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zosnet/zosnet/pkg/grid"
	"github.com/zosnet/zosnet/pkg/trust"
)

func TestJoin(t *testing.T) {
	in := newInviter(t).serve(t)
	token, n2 := in.token(), candidate("n2")
	m, err := join(t, must(trust.ParseToken(token.Reveal())), n2)
	if err != nil {
		t.Fatal(err)
	}
	id := must(m.Roots.Identity("n2", m.Certificate))
	if m.Control != controlNet || !controlNet.Contains(m.Address) || id.Address != m.Address || id.ControlKey != n2.ControlKey || id.Member {
		t.Errorf("got %+v, certificate of %+v", m, id)
	}
	if len(m.Members) != 1 || m.Members[0] != in.nodes[0] {
		t.Errorf("members: %+v", m.Members)
	}
	if got := in.nodes[1]; got.Name != "n2" || got.Address != m.Address || got.ControlKey != n2.ControlKey {
		t.Errorf("the registry has %+v", got)
	}
	if use := in.tokens[token.ID()].Used; use == nil || use.Node != "n2" {
		t.Errorf("the token was used by %+v", use)
	}
}

func TestJoinIsRefused(t *testing.T) {
	in := newInviter(t).serve(t)
	other := newInviter(t)
	used := in.token()
	n2 := candidate("n2")
	first, err := join(t, used, n2)
	fails(t, err, nil)

	unknown := in.token()
	delete(in.tokens, unknown.ID())
	expired := in.token()
	pending := in.tokens[expired.ID()]
	pending.Expires = noon
	in.tokens[expired.ID()] = pending
	stolen := candidate("n3") // with a control key that n2 has
	stolen.ControlKey = n2.ControlKey
	shared := in.token()
	guest := candidate("n4") // with the token's own key
	guest.ControlKey = shared.PeerPublicKey()

	tests := []struct {
		name  string
		token *trust.Token
		c     grid.Candidate
		want  error
	}{
		{"used by another", used, candidate("n3"), trust.ErrToken},
		{"used by the same name with another key", used, candidate("n2"), trust.ErrToken},
		{"unknown", unknown, candidate("n3"), trust.ErrToken},
		{"expired", expired, candidate("n3"), trust.ErrToken},
		{"another grid's", moved(other.token(), in), candidate("n3"), trust.ErrToken},
		{"the name is taken", in.token(), candidate("n2"), grid.ErrNameTaken},
		{"the name of the node that invites", in.token(), candidate("n1"), grid.ErrNameTaken},
		{"the control key is taken", in.token(), stolen, grid.ErrKeyTaken},
		{"the token's key as its own", shared, guest, grid.ErrKeyTaken},
		{"no name", in.token(), candidate("N3/../n1"), trust.ErrMalformed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := join(t, test.token, test.c)
			fails(t, err, test.want)
		})
	}
	if len(in.nodes) != 2 {
		t.Errorf("the grid has %d nodes, want n1 and n2", len(in.nodes))
	}

	// Whose answer was lost asks again and is told the same.
	again, err := join(t, used, n2)
	if err != nil || string(again.Certificate) != string(first.Certificate) || len(in.nodes) != 2 {
		t.Errorf("asking again: %v", err)
	}
	// A refused name does not use the token up.
	free := in.token()
	_, err = join(t, free, candidate("n2"))
	fails(t, err, grid.ErrNameTaken)
	_, err = join(t, free, candidate("n3"))
	fails(t, err, nil)
}

// moved gives a token as its own, with the fingerprint of another node's grid.
func moved(token *trust.Token, to *inviter) *trust.Token {
	token.CA, token.Service = to.ca.Fingerprint(), to.address
	return token
}

// Whoever is not the node of the token does not get to see its secret.
func TestJoinBelievesOnlyTheTokensNode(t *testing.T) {
	tests := []struct {
		name string
		make func(in *inviter) tls.Certificate
		want error
	}{
		{"another grid's member", func(*inviter) tls.Certificate {
			stranger := newInviter(t)
			cert := stranger.certify(t, "n1", stranger.address.Addr(), stranger.ca.IssueMember)
			cert.Certificate = append(cert.Certificate, stranger.roots.DER()...)
			return cert
		}, trust.ErrUnknownAuthority},
		{"another grid's member that shows this grid's CA", func(in *inviter) tls.Certificate {
			stranger := newInviter(t)
			cert := stranger.certify(t, "n1", in.address.Addr(), stranger.ca.IssueMember)
			cert.Certificate = append(cert.Certificate, in.roots.DER()...)
			return cert
		}, trust.ErrUnknownAuthority},
		{"a node that is no member", func(in *inviter) tls.Certificate {
			cert := in.certify(t, "n2", in.address.Addr(), in.ca.Issue)
			cert.Certificate = append(cert.Certificate, in.roots.DER()...)
			return cert
		}, trust.ErrOtherNode},
		{"a member with another address", func(in *inviter) tls.Certificate {
			cert := in.certify(t, "n2", in.address.Addr().Next(), in.ca.IssueMember)
			cert.Certificate = append(cert.Certificate, in.roots.DER()...)
			return cert
		}, trust.ErrOtherNode},
		{"the CA is not shown", func(in *inviter) tls.Certificate {
			return in.certify(t, "n1", in.address.Addr(), in.ca.IssueMember)
		}, trust.ErrUnknownAuthority},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			in := newInviter(t)
			addAddress(t, in.address.Addr())
			heard := listenAs(t, in.address, test.make(in))
			_, err := join(t, in.token(), candidate("n2"))
			fails(t, err, test.want)
			if n := heard(); n != 0 {
				t.Errorf("it was told %d bytes", n)
			}
		})
	}
}

// listenAs takes connections with a certificate, until the test ends. It gives how
// many bytes were said to it.
func listenAs(t *testing.T, at netip.AddrPort, cert tls.Certificate) func() int {
	t.Helper()
	listener := must(tls.Listen("tcp6", at.String(), &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}}))
	total := make(chan int, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			total <- 0
			return
		}
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		n, _ := conn.Read(make([]byte, 1<<16))
		_ = conn.Close()
		total <- n
	}()
	return func() int {
		_ = listener.Close()
		return <-total
	}
}

// A clock that is far off is named as what is wrong.
func TestJoinWithAWrongClock(t *testing.T) {
	in := newInviter(t).serve(t)
	for _, test := range []struct {
		name string
		now  time.Time
		want error
	}{
		{"a day behind", noon.Add(-24 * time.Hour), nil},
		{"a day ahead", noon.Add(24 * time.Hour), nil},
		{"no clock at all", time.Unix(0, 0), trust.ErrNotYetValid},
		{"years ahead", noon.AddDate(5, 0, 0), trust.ErrExpired},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			_, err := grid.Join(ctx, in.token(), candidate("n"+strings.ReplaceAll(test.name, " ", "-")), test.now)
			fails(t, err, test.want)
		})
	}
}

// Two that join with one token at the same moment: one gets in.
func TestRaceForOneToken(t *testing.T) {
	in := newInviter(t)
	var both sync.WaitGroup
	both.Add(2)
	var once [2]sync.Once
	seen := make(chan int, 64)
	for i := range 64 {
		seen <- i
	}
	in.looked = func() { // the first two that look the token up do so before either goes on
		if i := <-seen; i < 2 {
			once[i].Do(both.Done)
		}
		both.Wait()
	}
	in.serve(t)
	token := in.token()
	results := make(chan error, 2)
	for _, name := range []string{"n2", "n3"} {
		go func() {
			_, err := join(t, token, candidate(name))
			results <- err
		}()
	}
	won := 0
	for range 2 {
		switch err := <-results; {
		case err == nil:
			won++
		case !errors.Is(err, trust.ErrToken):
			t.Errorf("the loser is told: %v", err)
		}
	}
	if won != 1 || len(in.nodes) != 2 {
		t.Errorf("%d got in, the grid has %d nodes", won, len(in.nodes))
	}
}

// Two that want one name, each with a token of its own: one gets it.
func TestRaceForOneName(t *testing.T) {
	in := newInviter(t).serve(t)
	results := make(chan error, 4)
	for range 4 {
		token, c := in.token(), candidate("n2")
		copy(c.ControlKey[:], token.ID())
		go func() {
			_, err := join(t, token, c)
			results <- err
		}()
	}
	won := 0
	for range 4 {
		switch err := <-results; {
		case err == nil:
			won++
		case !errors.Is(err, grid.ErrNameTaken):
			t.Errorf("a loser is told: %v", err)
		}
	}
	if won != 1 || len(in.nodes) != 2 {
		t.Errorf("%d got in, the grid has %d nodes", won, len(in.nodes))
	}
}

func TestRegistryOutOfReach(t *testing.T) {
	in := newInviter(t)
	in.down = errors.New("no leader among 192.0.2.7")
	in.serve(t)
	_, err := join(t, in.token(), candidate("n2"))
	if err == nil || !strings.Contains(err.Error(), "try again") || strings.Contains(err.Error(), "192.0.2.7") {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(in.log.text(), "192.0.2.7") {
		t.Error("the log does not say what failed")
	}
}

func TestRenew(t *testing.T) {
	in := newInviter(t).serve(t)
	n2, n3 := candidate("n2"), candidate("n3")
	m := must(join(t, in.token(), n2))
	_ = must(join(t, in.token(), n3))
	current := must(n2.Key.TLS(m.Certificate))
	renew := func(with tls.Certificate, c grid.Candidate) ([]byte, error) {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		return grid.Renew(ctx, in.address, m.Roots, with, c, noon)
	}
	next := candidate("n2")
	next.ControlKey = trust.ControlKey{7}
	cert, err := renew(current, next)
	if err != nil {
		t.Fatal(err)
	}
	id := must(m.Roots.Identity("n2", cert))
	if id.Address != m.Address || id.ControlKey != next.ControlKey || id.Member || string(in.certificates["n2"]) != string(cert) {
		t.Errorf("renewed as %+v", id)
	}

	stranger := newInviter(t)
	taken := candidate("n2")
	taken.ControlKey = n3.ControlKey
	for _, test := range []struct {
		name string
		with tls.Certificate
		c    grid.Candidate
		want error
	}{
		{"for another node", current, n3, nil},
		{"another node's control key", current, taken, grid.ErrKeyTaken},
		{"with no certificate", tls.Certificate{}, next, nil},
		{"with another grid's certificate", stranger.certify(t, "n2", m.Address, stranger.ca.Issue), next, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := renew(test.with, test.c); err == nil || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}

	in.members = append(in.members, "n2")
	if id := must(m.Roots.Identity("n2", must(renew(current, next)))); id.Member {
		t.Error("the registry's word alone makes a member")
	}
	promoted := must(n2.Key.TLS(must(in.ca.Reissue(must(m.Roots.Identity("n2", m.Certificate)), true, noon))))
	if id := must(m.Roots.Identity("n2", must(renew(promoted, next)))); !id.Member {
		t.Error("a member's renewed certificate is not one of a member")
	}
	revoked, _, err := in.ca.Revoke(in.roots, noon, must(in.roots.Identity("n2", append(m.Certificate, cert...))))
	fails(t, err, nil)
	in.roots = revoked
	if _, err := renew(current, next); err == nil {
		t.Error("a revoked certificate is renewed")
	}
	in.roots, in.nodes = m.Roots, in.nodes[:1]
	if _, err := renew(current, next); err == nil {
		t.Error("a node that was taken out gets a new certificate")
	}
}

func TestServiceListensOnTheControlAddressOnly(t *testing.T) {
	in := newInviter(t).serve(t)
	elsewhere := netip.MustParseAddr("2001:db8::1")
	addAddress(t, elsewhere)
	for _, addr := range []string{"127.0.0.1", "::1", elsewhere.String()} {
		conn, err := net.DialTimeout("tcp", netip.AddrPortFrom(netip.MustParseAddr(addr), in.address.Port()).String(), 5*time.Second)
		if err == nil {
			_ = conn.Close()
			t.Errorf("it listens on %s too", addr)
		}
	}
	for _, addr := range []string{"::", "::1", "0.0.0.0", "127.0.0.1", elsewhere.String()} {
		on := netip.AddrPortFrom(netip.MustParseAddr(addr), nextPort())
		if _, err := in.service.Listen(t.Context(), on); err == nil || !strings.Contains(err.Error(), "control network") {
			t.Errorf("on %v: %v", on, err)
		}
	}
}
