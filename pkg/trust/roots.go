package trust

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"net/netip"
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

// Identity is who a node is, as the grid's CA certified it.
type Identity struct {
	Node         string
	Address      netip.Addr // control address
	ControlKey   [32]byte   // control WireGuard public key
	Member       bool       // it may serve the grid's registry and let nodes in
	Expires      time.Time  // of the newest certificate
	certificates []certificate
}

// certificate is one whose chain was checked.
type certificate struct {
	leaf              *x509.Certificate
	key               *ecdsa.PublicKey
	notBefore, expiry time.Time // within its CA's own
	revoked           bool
}

// Identity checks a node's certificates (PEM, the newest first, at most 4): that
// this grid's CA made them, and for this name. Their time, and whether they were
// revoked, is judged where they are used.
//
// There can be several since a node's values are signed again only some time
// after it got a new certificate.
func (r *Roots) Identity(node string, certificates []byte) (*Identity, error) {
	certs, err := parseCertificates(certificates, maxCertificates)
	if err != nil {
		return nil, fmt.Errorf("certificate of node %s: %w", node, err)
	}
	id := &Identity{Node: node}
	for i, leaf := range certs {
		checked, err := r.check(leaf)
		if err != nil {
			return nil, fmt.Errorf("certificate of node %s: %w", node, err)
		}
		if leaf.Subject.CommonName != node {
			return nil, fmt.Errorf("certificate of node %s: %w: %q", node, ErrOtherNode, leaf.Subject.CommonName)
		}
		if i == 0 {
			if err := id.describe(checked); err != nil {
				return nil, fmt.Errorf("certificate of node %s: %w", node, err)
			}
		}
		id.certificates = append(id.certificates, checked)
	}
	return id, nil
}

// IdentityOf checks the certificate that a peer presented in TLS, with its time.
func (r *Roots) IdentityOf(leaf *x509.Certificate, now time.Time) (*Identity, error) {
	id, err := r.Identity(leaf.Subject.CommonName, encodePEM(pemCertificate, leaf.Raw))
	if err != nil {
		return nil, err
	}
	if err := id.Valid(now); err != nil {
		return nil, err
	}
	return id, nil
}

func (r *Roots) check(leaf *x509.Certificate) (certificate, error) {
	// At this time only the chain can be wrong: a certificate lies within its CA's
	// time. What the clock says is a reason of its own.
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots: r.Pool(), CurrentTime: leaf.NotBefore,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return certificate{}, fmt.Errorf("%w: %w", ErrUnknownAuthority, err)
	}
	key, ok := leaf.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() || leaf.IsCA {
		return certificate{}, fmt.Errorf("%w: not one of a node", ErrMalformed)
	}
	ca := chains[0][len(chains[0])-1]
	return certificate{
		leaf: leaf, key: key, notBefore: leaf.NotBefore, expiry: earliest(leaf.NotAfter, ca.NotAfter),
		revoked: r.revoked.has(leaf.SerialNumber),
	}, nil
}

func (id *Identity) describe(c certificate) error {
	control, err := controlKeyOf(c.leaf.URIs)
	if err != nil {
		return err
	}
	if len(c.leaf.IPAddresses) != 1 {
		return fmt.Errorf("%w: %d addresses, want the control address", ErrMalformed, len(c.leaf.IPAddresses))
	}
	addr, ok := netip.AddrFromSlice(c.leaf.IPAddresses[0])
	if !ok || !addr.Is6() {
		return fmt.Errorf("%w: the control address is not an IPv6 address", ErrMalformed)
	}
	id.Address, id.ControlKey, id.Expires = addr, control, c.expiry
	id.Member = slices.Contains(c.leaf.DNSNames, MemberHostname)
	return nil
}

// Valid judges the newest certificate: ErrNotYetValid, ErrExpired, ErrRevoked.
func (id *Identity) Valid(now time.Time) error {
	if err := id.certificates[0].valid(now); err != nil {
		return fmt.Errorf("certificate of node %s: %w", id.Node, err)
	}
	return nil
}

// RenewalDue says that half of the newest certificate's life is over.
func (id *Identity) RenewalDue(now time.Time) bool { return id.Expires.Sub(now) < NodeLife/2 }

func (c certificate) valid(now time.Time) error {
	if c.revoked {
		return ErrRevoked
	}
	return inTime(now, c.notBefore, c.expiry)
}

func inTime(now, from, until time.Time) error {
	switch {
	case now.Before(from):
		return fmt.Errorf("%w: it begins %s and the clock says %s", ErrNotYetValid, from.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	case now.After(until):
		return fmt.Errorf("%w: it ended %s and the clock says %s", ErrExpired, until.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return nil
}
