package trust

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

const (
	// maxRoots bounds the CAs of a grid at one time: the old one and the new.
	maxRoots = 4
	// maxCertificates bounds a node's certificates at one time: the newest, and
	// older ones that values are still signed with.
	maxCertificates = 4
)

// Roots is whom a node believes: the CAs of its grid and what they revoked. It
// does not change; what is learned makes another one.
type Roots struct {
	cas     []*x509.Certificate
	revoked *revocations
}

// ParseRoots takes the CAs of a grid, 1 to 4 certificates in PEM.
func ParseRoots(text []byte) (*Roots, error) {
	cas, err := parseCertificates(text, maxRoots)
	if err != nil {
		return nil, fmt.Errorf("the grid's CAs: %w", err)
	}
	for _, ca := range cas {
		if err := checkRoot(ca); err != nil {
			return nil, err
		}
	}
	return &Roots{cas: cas, revoked: &revocations{}}, nil
}

func checkRoot(ca *x509.Certificate) error {
	if !ca.IsCA || ca.CheckSignatureFrom(ca) != nil {
		return fmt.Errorf("the grid's CAs: %w: %q is not a CA", ErrMalformed, ca.Subject.CommonName)
	}
	return nil
}

// PEM gives the CAs, as ParseRoots takes them.
func (r *Roots) PEM() []byte {
	var text []byte
	for _, ca := range r.cas {
		text = append(text, encodePEM(pemCertificate, ca.Raw)...)
	}
	return text
}

// Pool gives the CAs as crypto/tls takes them. It knows nothing of revocations.
func (r *Roots) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	for _, ca := range r.cas {
		pool.AddCert(ca)
	}
	return pool
}

// DER gives the CAs as crypto/tls sends them behind a certificate.
func (r *Roots) DER() [][]byte {
	var list [][]byte
	for _, ca := range r.cas {
		list = append(list, ca.Raw)
	}
	return list
}

// PinnedRoots gives the CA of a fingerprint, found among certificates of which
// nothing is known yet, as a peer sends them in TLS.
func PinnedRoots(chain []*x509.Certificate, pin Fingerprint) (*Roots, error) {
	for _, cert := range chain {
		if FingerprintOf(cert) == pin {
			return ParseRoots(encodePEM(pemCertificate, cert.Raw))
		}
	}
	return nil, fmt.Errorf("CA of fingerprint %v: %w", pin, ErrUnknownAuthority)
}

// Has says whether a CA of this fingerprint is among them.
func (r *Roots) Has(f Fingerprint) bool {
	return slices.ContainsFunc(r.cas, func(ca *x509.Certificate) bool { return FingerprintOf(ca) == f })
}

// Endorse begins a CA's replacement: it gives next's certificate and, after it,
// this CA's word for it (a cross-certificate, RFC 4949), both PEM, for Adopt.
func (c *CA) Endorse(next *CA, now time.Time) ([]byte, error) {
	template, err := caTemplate(now)
	if err != nil {
		return nil, err
	}
	template.Subject, template.NotAfter = next.cert.Subject, c.cert.NotAfter
	der, err := x509.CreateCertificate(rand.Reader, template, c.cert, next.key.Public(), c.key)
	if err != nil {
		return nil, fmt.Errorf("endorse the next CA: %w", err)
	}
	return append(next.CertificatePEM(), encodePEM(pemCertificate, der)...), nil
}

// Adopt gives roots with one more CA, if one of these gave its word for it. The
// old one stays: nodes still have certificates of it.
func (r *Roots) Adopt(endorsement []byte, now time.Time) (*Roots, error) {
	pair, err := parseCertificates(endorsement, 2)
	if err != nil {
		return nil, fmt.Errorf("adopt a CA: %w", err)
	}
	if len(pair) != 2 {
		return nil, fmt.Errorf("adopt a CA: %w: want its certificate and the word of a known CA", ErrMalformed)
	}
	next, word := pair[0], pair[1]
	if err := checkRoot(next); err != nil {
		return nil, err
	}
	known := slices.IndexFunc(r.cas, func(ca *x509.Certificate) bool { return word.CheckSignatureFrom(ca) == nil })
	switch key, ok := next.PublicKey.(*ecdsa.PublicKey); {
	case known < 0 || !word.IsCA:
		return nil, fmt.Errorf("adopt a CA: %w", ErrUnknownAuthority)
	case !ok || !key.Equal(word.PublicKey):
		return nil, fmt.Errorf("adopt a CA: the word is for another: %w", ErrSignature)
	case r.Has(FingerprintOf(next)):
		return r, nil
	case len(r.cas) == maxRoots:
		return nil, fmt.Errorf("adopt a CA: there are %d already; take an old one out first", maxRoots)
	}
	for _, cert := range []*x509.Certificate{word, r.cas[known]} {
		if err := inTime(now, cert.NotBefore, cert.NotAfter); err != nil {
			return nil, fmt.Errorf("adopt a CA: %w", err)
		}
	}
	return &Roots{cas: append(slices.Clone(r.cas), next), revoked: r.revoked}, nil
}
