package trust

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"time"
)

const (
	// ClockSlack is how long before it was made a certificate is valid: two clocks
	// that are each a day off in opposite directions differ by two days.
	ClockSlack = 7 * 24 * time.Hour
	// NodeLife is how long a node's certificate is valid. A node that was off for
	// longer joins again.
	NodeLife = 365 * 24 * time.Hour
	// CALife is how long a CA is valid. It is replaced long before (see Endorse).
	CALife = 20 * 365 * 24 * time.Hour
)

// Fingerprint is the SHA-256 of a certificate's DER.
type Fingerprint [sha256.Size]byte

// FingerprintOf gives the fingerprint of a certificate.
func FingerprintOf(cert *x509.Certificate) Fingerprint { return sha256.Sum256(cert.Raw) }

// String gives 64 hexadecimal digits.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// CA is a grid's certificate authority. Who has its key decides who is a node.
type CA struct {
	sealed
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewCA makes a certificate authority with a key of its own.
func NewCA(now time.Time) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the CA's key: %w", err)
	}
	template, err := caTemplate(now)
	if err != nil {
		return nil, err
	}
	return newCA(template, key)
}

func newCA(template *x509.Certificate, key *ecdsa.PrivateKey) (*CA, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make the CA's certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make the CA's certificate: %w", err)
	}
	return &CA{sealed: "CA key", cert: cert, key: key}, nil
}

func caTemplate(now time.Time) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	// The name has a random part: chains are built by name, and a rotated CA must
	// not be taken for its predecessor.
	name := fmt.Sprintf("zosnet grid %x", serial.Bytes()[:4])
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-ClockSlack), NotAfter: now.Add(CALife),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:     true, BasicConstraintsValid: true, MaxPathLenZero: true,
	}, nil
}

// newSerial gives a random serial number of 16 bytes (RFC 5280, 4.1.2.2: positive,
// at most 20 bytes).
func newSerial() (*big.Int, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b[:]), nil
}

// ParseCA takes a CA from its certificate and its key, both PEM. They must belong
// together.
func ParseCA(certificate, key []byte) (*CA, error) {
	certs, err := parseCertificates(certificate, 1)
	if err != nil {
		return nil, fmt.Errorf("the CA's certificate: %w", err)
	}
	private, err := parseECDSA(key)
	if err != nil {
		return nil, fmt.Errorf("the CA's key: %w", err)
	}
	switch {
	case !certs[0].IsCA:
		return nil, fmt.Errorf("the CA's certificate: %w: not one of a CA", ErrMalformed)
	case !private.PublicKey.Equal(certs[0].PublicKey):
		return nil, fmt.Errorf("the CA's key and certificate do not belong together: %w", ErrMalformed)
	}
	return &CA{sealed: "CA key", cert: certs[0], key: private}, nil
}

// CertificatePEM gives the CA's certificate, which is public.
func (c *CA) CertificatePEM() []byte { return encodePEM(pemCertificate, c.cert.Raw) }

// KeyPEM gives the CA's private key, PKCS #8.
func (c *CA) KeyPEM() ([]byte, error) { return privateKeyPEM(c.key) }

// Fingerprint names the CA.
func (c *CA) Fingerprint() Fingerprint { return FingerprintOf(c.cert) }

// MemberHostname is the DNS name in the certificates of members, and in no other
// node's. Who speaks to a member asks for it: so no other node can play one.
const MemberHostname = "member.grid.zosnet.internal"

// Issue certifies what a node asks for, with the control address that it was
// given, and gives the certificate as PEM. Whether the name and the key are
// free is for the caller. It is the same for a first certificate and a renewal.
func (c *CA) Issue(request *Request, address netip.Addr, now time.Time) ([]byte, error) {
	return c.issue(request, address, now, false)
}

// IssueMember is Issue for a node that is a member: it serves the grid's registry
// and lets nodes in. To TLS it is a client and a server, other nodes are clients.
func (c *CA) IssueMember(request *Request, address netip.Addr, now time.Time) ([]byte, error) {
	return c.issue(request, address, now, true)
}

// Reissue certifies a node again for what it has, its key too, as a member or as
// one that is none. The new certificate ends after the one that it has: so the node
// can tell which is the newer.
func (c *CA) Reissue(id *Identity, member bool, now time.Time) ([]byte, error) {
	if next := id.Expires.Add(time.Second - NodeLife); now.Before(next) {
		now = next
	}
	request := &Request{Node: id.Node, ControlKey: id.ControlKey, key: id.certificates[0].key}
	return c.issue(request, id.Address, now, member)
}

func (c *CA) issue(request *Request, address netip.Addr, now time.Time, member bool) ([]byte, error) {
	if !address.Is6() || address.Is4In6() || address.Zone() != "" {
		return nil, fmt.Errorf("certify node %s: %q is not an IPv6 control address", request.Node, address)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: request.Node},
		NotBefore: latest(now.Add(-ClockSlack), c.cert.NotBefore), NotAfter: earliest(now.Add(NodeLife), c.cert.NotAfter),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{address.AsSlice()}, URIs: []*url.URL{controlKeyURI(request.ControlKey)},
		BasicConstraintsValid: true,
	}
	if member {
		template.DNSNames = []string{MemberHostname}
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	if !template.NotBefore.Before(template.NotAfter) || now.After(template.NotAfter) {
		return nil, fmt.Errorf("certify node %s: the CA: %w", request.Node, ErrExpired)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.cert, request.key, c.key)
	if err != nil {
		return nil, fmt.Errorf("certify node %s: %w", request.Node, err)
	}
	return encodePEM(pemCertificate, der), nil
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
