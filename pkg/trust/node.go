package trust

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"

	"github.com/zosnet/zosnet/pkg/spec"
)

// ControlKey is the WireGuard public key of a node's control interface.
type ControlKey [32]byte

// String gives the key in base64, as wg(8) prints it.
func (k ControlKey) String() string { return base64.StdEncoding.EncodeToString(k[:]) }

// MarshalText gives what String gives.
func (k ControlKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText takes what MarshalText gives. Zeros are no key.
func (k *ControlKey) UnmarshalText(text []byte) error {
	raw, err := base64.StdEncoding.Strict().DecodeString(string(text))
	if err != nil || len(text) != 44 || len(raw) != len(k) || ControlKey(raw) == (ControlKey{}) {
		return fmt.Errorf("control key: %w: want 32 bytes in base64", ErrMalformed)
	}
	*k = ControlKey(raw)
	return nil
}

// NodeKey is a node's private key: it never leaves the node.
type NodeKey struct {
	sealed
	key *ecdsa.PrivateKey
}

// NewNodeKey makes a key.
func NewNodeKey() (*NodeKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a node's key: %w", err)
	}
	return &NodeKey{"node key", key}, nil
}

// ParseNodeKey takes a key from PEM.
func ParseNodeKey(text []byte) (*NodeKey, error) {
	key, err := parseECDSA(text)
	if err != nil {
		return nil, fmt.Errorf("a node's key: %w", err)
	}
	return &NodeKey{"node key", key}, nil
}

// PEM gives the private key, PKCS #8.
func (k *NodeKey) PEM() ([]byte, error) { return privateKeyPEM(k.key) }

// TLS joins the key and its certificate (PEM, the newest first) to what
// crypto/tls presents.
func (k *NodeKey) TLS(certificate []byte) (tls.Certificate, error) {
	certs, err := parseCertificates(certificate, maxCertificates)
	if err != nil {
		return tls.Certificate{}, err
	}
	if !k.key.PublicKey.Equal(certs[0].PublicKey) {
		return tls.Certificate{}, fmt.Errorf("a node's key and certificate do not belong together: %w", ErrMalformed)
	}
	return tls.Certificate{Certificate: [][]byte{certs[0].Raw}, PrivateKey: k.key, Leaf: certs[0]}, nil
}

// Request makes a certificate signing request (RFC 2986), PEM, for a name and the
// public key of the node's control WireGuard interface.
func (k *NodeKey) Request(node string, controlKey ControlKey) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: node}, URIs: []*url.URL{controlKeyURI(controlKey)},
	}, k.key)
	if err != nil {
		return nil, fmt.Errorf("make the certificate request of node %s: %w", node, err)
	}
	return encodePEM(pemRequest, der), nil
}

// Request is a checked certificate signing request. Nothing else that it may ask
// for is ever certified.
type Request struct {
	Node       string
	ControlKey ControlKey
	key        *ecdsa.PublicKey
}

// ParseRequest checks a certificate signing request: that who made it has the
// key, that the key is ECDSA P-256, and that the name can be one of a node.
func ParseRequest(text []byte) (*Request, error) {
	blocks, err := decodePEM(pemRequest, text, 1)
	if err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	csr, err := x509.ParseCertificateRequest(blocks[0])
	if err != nil {
		return nil, fmt.Errorf("certificate request: %w: %w", ErrMalformed, err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("certificate request: %w", ErrSignature)
	}
	key, ok := csr.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("certificate request: %w: want an ECDSA P-256 key", ErrMalformed)
	}
	name := csr.Subject.CommonName
	if err := CheckNode(name); err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	control, err := controlKeyOf(csr.URIs)
	if err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	return &Request{Node: name, ControlKey: control, key: key}, nil
}

// CheckNode says whether a node can be certified under a name. etcd takes who has a
// certificate in the name of root for its administrator: there must never be one.
func CheckNode(name string) error {
	if !spec.ValidName(name) || name == "root" {
		return fmt.Errorf("%w: %q cannot be the name of a node in a grid", ErrMalformed, name)
	}
	return nil
}

// KeyDigest names the key that is to be certified: SHA-256 of its DER.
func (r *Request) KeyDigest() [32]byte {
	der, err := x509.MarshalPKIXPublicKey(r.key)
	if err != nil {
		panic(err) // it was parsed from DER
	}
	return sha256.Sum256(der)
}

// A control key stands in requests and certificates as a URI, since X.509 has no
// place for a key that is not the subject's own.
const controlKeyScheme, controlKeyPart = "zosnet", "control-key:"

func controlKeyURI(key ControlKey) *url.URL {
	return &url.URL{Scheme: controlKeyScheme, Opaque: controlKeyPart + base64.RawURLEncoding.EncodeToString(key[:])}
}

func controlKeyOf(uris []*url.URL) (key ControlKey, err error) {
	if len(uris) == 1 && uris[0].Scheme == controlKeyScheme {
		text, ok := strings.CutPrefix(uris[0].Opaque, controlKeyPart)
		raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
		if ok && err == nil && len(raw) == len(key) && ControlKey(raw) != key {
			return ControlKey(raw), nil
		}
	}
	return key, fmt.Errorf("%w: want one URI %s:%sKEY with a WireGuard public key", ErrMalformed, controlKeyScheme, controlKeyPart)
}
