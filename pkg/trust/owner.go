package trust

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/zosnet/zosnet/pkg/spec"
)

// Owner is the ed25519 public key (RFC 8032) of who owns networks.
type Owner [ed25519.PublicKeySize]byte

// String gives "ed25519:" and the key in base64, as node.yaml writes it.
func (o Owner) String() string { return spec.OwnerPrefix + base64.StdEncoding.EncodeToString(o[:]) }

// ParseOwner takes what String gives.
func ParseOwner(text string) (Owner, error) {
	encoded, ok := strings.CutPrefix(text, spec.OwnerPrefix)
	raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if !ok || err != nil || len(encoded) != 44 || len(raw) != len(Owner{}) || Owner(raw) == (Owner{}) {
		return Owner{}, fmt.Errorf("owner's key: %w: want %s and 44 characters of base64, as zosnet key show prints it", ErrMalformed, spec.OwnerPrefix)
	}
	return Owner(raw), nil
}

// MarshalText and UnmarshalText are the form of String.
func (o Owner) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText takes what MarshalText gives.
func (o *Owner) UnmarshalText(text []byte) (err error) {
	*o, err = ParseOwner(string(text))
	return err
}

// OwnerKey is an owner's private key.
type OwnerKey struct {
	sealed
	key *ed25519.PrivateKey
}

// NewOwnerKey makes a key.
func NewOwnerKey() (*OwnerKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make an owner's key: %w", err)
	}
	return &OwnerKey{"owner key", &key}, nil
}

// ParseOwnerKey takes a key from PEM, PKCS #8 (RFC 8410), as openssl writes it too.
func ParseOwnerKey(text []byte) (*OwnerKey, error) {
	key, err := parsePrivateKey(text)
	if err != nil {
		return nil, fmt.Errorf("an owner's key: %w", err)
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("an owner's key: %w: want ed25519", ErrMalformed)
	}
	return &OwnerKey{"owner key", &private}, nil
}

// PEM gives the private key, PKCS #8.
func (k *OwnerKey) PEM() ([]byte, error) { return privateKeyPEM(*k.key) }

// Owner gives the public key.
func (k *OwnerKey) Owner() Owner { return Owner(k.key.Public().(ed25519.PublicKey)) }

// Document is one revision of a network's document, or its end, signed by its
// owner. The signature covers the network's name, so that a document cannot be
// stored under another.
type Document struct {
	Network  string `json:"-"` // the key says it
	Revision uint64 `json:"revision"`
	Text     string `json:"text,omitempty"`
	// Released ends the network and frees its name. There is no text then.
	Released  bool   `json:"released,omitempty"`
	Owner     Owner  `json:"owner"`
	Signature []byte `json:"signature"` // ed25519
}

// Sign signs a revision of a network's document. Revisions count up from 1, for
// the name and not for the owner.
func (k *OwnerKey) Sign(network string, revision uint64, text string) (Document, error) {
	return k.sign(Document{Network: network, Revision: revision, Text: text})
}

// Release signs the end of a network.
func (k *OwnerKey) Release(network string, revision uint64) (Document, error) {
	return k.sign(Document{Network: network, Revision: revision, Released: true})
}

func (k *OwnerKey) sign(d Document) (Document, error) {
	d.Owner = k.Owner()
	if err := d.check(); err != nil {
		return Document{}, fmt.Errorf("sign network %s: %w", d.Network, err)
	}
	d.Signature = ed25519.Sign(*k.key, d.digest())
	return d, nil
}

// Verify proves that the owner whom the document names signed it.
func (d Document) Verify() error {
	err := d.check()
	if err == nil && !ed25519.Verify(d.Owner[:], d.digest(), d.Signature) {
		err = ErrSignature
	}
	if err != nil {
		return fmt.Errorf("network %s, revision %d: %w", d.Network, d.Revision, err)
	}
	return nil
}

func (d Document) check() error {
	switch {
	case !spec.ValidName(d.Network):
		return fmt.Errorf("%w: %q is no name of a network", ErrMalformed, d.Network)
	case d.Revision == 0:
		return fmt.Errorf("%w: revisions count from 1", ErrMalformed)
	case d.Released != (d.Text == ""):
		return fmt.Errorf("%w: want a text, or a released network without one", ErrMalformed)
	case len(d.Text) > spec.MaxDocument || !utf8.ValidString(d.Text):
		return fmt.Errorf("%w: the text is not UTF-8 of at most %d bytes", ErrMalformed, spec.MaxDocument)
	}
	return nil
}

func (d Document) digest() []byte {
	state := "document"
	if d.Released {
		state = "released"
	}
	return digest("zosnet network document 1", d.Network, d.Revision, state, d.Text)
}
