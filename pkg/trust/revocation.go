package trust

import (
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"math/big"
	"time"
)

// revocations is a checked certificate revocation list (RFC 5280, section 5). Its
// "next update" is not judged: a list that nobody renewed must not lock out
// everybody.
type revocations struct {
	list    *x509.RevocationList // nil: nothing was ever revoked
	serials map[string]bool
}

func (r *revocations) has(serial *big.Int) bool { return r.serials[serial.String()] }

// Revoke gives roots that no longer believe the newest and older certificates of
// some nodes, and the list (PEM) that makes other nodes do the same. Nothing ever
// leaves a list. The roots must hold the newest list there is, or others refuse
// this one as older.
func (c *CA) Revoke(r *Roots, now time.Time, nodes ...*Identity) (*Roots, []byte, error) {
	template := &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: now.Add(-ClockSlack), NextUpdate: c.cert.NotAfter,
	}
	if old := r.revoked.list; old != nil {
		template.Number.Add(old.Number, template.Number)
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, old.RevokedCertificateEntries...)
	}
	for _, node := range nodes {
		for _, cert := range node.certificates {
			if !r.revoked.has(cert.serial) {
				template.RevokedCertificateEntries = append(template.RevokedCertificateEntries,
					x509.RevocationListEntry{SerialNumber: cert.serial, RevocationTime: now})
			}
		}
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, c.cert, c.key)
	if err != nil {
		return nil, nil, fmt.Errorf("make the revocation list: %w", err)
	}
	text := encodePEM(pemRevocations, der)
	revoked, err := r.Revoked(text)
	return revoked, text, err
}

// Revocations gives the list that these roots know, PEM; nil: they know of none.
func (r *Roots) Revocations() []byte {
	if r.revoked.list == nil {
		return nil
	}
	return encodePEM(pemRevocations, r.revoked.list.Raw)
}

// RevocationsDER gives what Revocations gives, as etcd reads it from a file.
func (r *Roots) RevocationsDER() []byte {
	if r.revoked.list == nil {
		return nil
	}
	return r.revoked.list.Raw
}

// RevokedDER is Revoked for a list as RevocationsDER gives it.
func (r *Roots) RevokedDER(list []byte) (*Roots, error) {
	return r.Revoked(encodePEM(pemRevocations, list))
}

// Revoked gives roots that know of a revocation list (PEM). One that an unknown
// CA signed is refused, and one that is older than the one they know (ErrOlder)
// or as old and different (ErrConflict).
func (r *Roots) Revoked(text []byte) (*Roots, error) {
	blocks, err := decodePEM(pemRevocations, text, 1)
	if err != nil {
		return nil, fmt.Errorf("revocation list: %w", err)
	}
	list, err := x509.ParseRevocationList(blocks[0])
	if err != nil || list.Number == nil {
		return nil, fmt.Errorf("revocation list: %w", ErrMalformed)
	}
	if !r.signed(list) {
		return nil, fmt.Errorf("revocation list: %w", ErrUnknownAuthority)
	}
	next := &revocations{list: list, serials: map[string]bool{}}
	for _, entry := range list.RevokedCertificateEntries {
		next.serials[entry.SerialNumber.String()] = true
	}
	if old := r.revoked.list; old != nil {
		switch list.Number.Cmp(old.Number) {
		case -1:
			return nil, fmt.Errorf("revocation list %v after %v: %w", list.Number, old.Number, ErrOlder)
		case 0:
			if string(list.Raw) != string(old.Raw) {
				return nil, fmt.Errorf("revocation list %v: %w", list.Number, ErrConflict)
			}
		}
	}
	return &Roots{cas: r.cas, revoked: next}, nil
}

func (r *Roots) signed(list *x509.RevocationList) bool {
	for _, ca := range r.cas {
		if list.CheckSignatureFrom(ca) == nil {
			return true
		}
	}
	return false
}
