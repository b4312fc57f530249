package trust

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"fmt"
	"math/big"
	"net/netip"
	"slices"
	"time"
)

// Identity is who a node is, as the grid's CA certified it.
type Identity struct {
	Node         string
	Address      netip.Addr // control address
	ControlKey   ControlKey
	Member       bool      // it may serve the grid's registry and let nodes in
	Expires      time.Time // of the newest certificate
	certificates []certificate
}

// certificate is what is needed of one whose chain was checked: a node knows those of
// hundreds of others.
type certificate struct {
	serial            *big.Int
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
			if err := id.describe(leaf, checked); err != nil {
				return nil, fmt.Errorf("certificate of node %s: %w", node, err)
			}
		}
		id.certificates = append(id.certificates, checked)
	}
	return id, nil
}

// Renewed puts a new certificate before those that a node has (PEM both), and leaves
// the oldest out where there are too many: Identity takes the result.
func Renewed(certificate, older []byte) ([]byte, error) {
	list, err := decodePEM(pemCertificate, certificate, 1)
	if err != nil {
		return nil, err
	}
	before, err := decodePEM(pemCertificate, older, maxCertificates)
	if err != nil {
		return nil, err
	}
	var text []byte
	for i, der := range append(list, before...) {
		if i < maxCertificates {
			text = append(text, encodePEM(pemCertificate, der)...)
		}
	}
	return text, nil
}

// Newest gives the first of a node's certificates (PEM).
func Newest(certificates []byte) ([]byte, error) {
	list, err := decodePEM(pemCertificate, certificates, maxCertificates)
	if err != nil {
		return nil, err
	}
	return encodePEM(pemCertificate, list[0]), nil
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
		serial: leaf.SerialNumber, key: key, notBefore: leaf.NotBefore, expiry: earliest(leaf.NotAfter, ca.NotAfter),
		revoked: r.revoked.has(leaf.SerialNumber),
	}, nil
}

func (id *Identity) describe(leaf *x509.Certificate, c certificate) error {
	control, err := controlKeyOf(leaf.URIs)
	if err != nil {
		return err
	}
	if len(leaf.IPAddresses) != 1 {
		return fmt.Errorf("%w: %d addresses, want the control address", ErrMalformed, len(leaf.IPAddresses))
	}
	addr, ok := netip.AddrFromSlice(leaf.IPAddresses[0])
	if !ok || !addr.Is6() {
		return fmt.Errorf("%w: the control address is not an IPv6 address", ErrMalformed)
	}
	id.Address, id.ControlKey, id.Expires = addr, control, c.expiry
	id.Member = slices.Contains(leaf.DNSNames, MemberHostname)
	return nil
}

// Valid judges the newest certificate: ErrNotYetValid, ErrExpired, ErrRevoked.
func (id *Identity) Valid(now time.Time) error {
	if err := id.certificates[0].valid(now); err != nil {
		return fmt.Errorf("certificate of node %s: %w", id.Node, err)
	}
	return nil
}

// Revoked says that one of the certificates was revoked: what it signed is refused,
// unless a newer one has the same key.
func (id *Identity) Revoked() bool {
	return slices.ContainsFunc(id.certificates, func(c certificate) bool { return c.revoked })
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
