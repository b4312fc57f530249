package trust_test

import (
	"slices"
	"testing"

	"github.com/zosnet/zosnet/pkg/trust"
)

func TestRevocation(t *testing.T) {
	g := newGrid(t)
	key, newest := g.node("n1", noon)
	olderKey, older := g.node("n1", noon)
	_, other := g.node("n2", noon)
	certs := slices.Concat(newest, older)
	revoked, list, err := g.ca.Revoke(g.roots, noon, must(g.roots.Identity("n1", certs)))
	if err != nil {
		t.Fatal(err)
	}
	learned := must(g.roots.Revoked(list))
	for name, roots := range map[string]*trust.Roots{"where it was made": revoked, "where it was learned": learned} {
		t.Run(name, func(t *testing.T) {
			id := must(roots.Identity("n1", certs))
			refused(t, id.Valid(noon), trust.ErrRevoked)
			for _, k := range []*trust.NodeKey{key, olderKey} {
				_, err := id.Open(must(k.Sign("n1", trust.KindRecord, recordKey, 1, nil)), trust.KindRecord, recordKey, noon)
				refused(t, err, trust.ErrRevoked)
			}
			refused(t, must(roots.Identity("n2", other)).Valid(noon), nil)
		})
	}

	again, latest, err := g.ca.Revoke(revoked, noon, must(revoked.Identity("n2", other)))
	if err != nil {
		t.Fatal(err)
	}
	refused(t, must(again.Identity("n1", certs)).Valid(noon), trust.ErrRevoked)
	_, err = again.Revoked(list)
	refused(t, err, trust.ErrOlder)
	_, err = again.Revoked(latest)
	refused(t, err, nil)
	_, fork, err := g.ca.Revoke(revoked, noon)
	refused(t, err, nil)
	_, err = again.Revoked(fork)
	refused(t, err, trust.ErrConflict)

	_, forged, err := newGrid(t).ca.Revoke(must(trust.ParseRoots(g.ca.CertificatePEM())), noon)
	refused(t, err, trust.ErrUnknownAuthority)
	if forged != nil {
		_, err = g.roots.Revoked(forged)
		refused(t, err, trust.ErrUnknownAuthority)
	}
	stranger := newGrid(t)
	_, foreign, err := stranger.ca.Revoke(stranger.roots, noon)
	refused(t, err, nil)
	_, err = g.roots.Revoked(foreign)
	refused(t, err, trust.ErrUnknownAuthority)
	for _, text := range []string{"", "x", string(newest)} {
		_, err = g.roots.Revoked([]byte(text))
		refused(t, err, trust.ErrMalformed)
	}

	// A node that was revoked joins again under its name with another certificate.
	_, fresh := g.node("n1", noon)
	refused(t, must(again.Identity("n1", fresh)).Valid(noon), nil)
	// What was revoked stays so when the CA changes.
	next := must(trust.NewCA(noon))
	both := must(again.Adopt(must(g.ca.Endorse(next, noon)), noon))
	refused(t, must(both.Identity("n1", certs)).Valid(noon), trust.ErrRevoked)
}
