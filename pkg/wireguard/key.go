package wireguard

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// keyLength is that of every key of WireGuard, in bytes: Curve25519 points and
// scalars, and preshared keys.
const keyLength = 32

// PublicKey is a Curve25519 point (RFC 7748). Zero is no key.
type PublicKey [keyLength]byte

// ParsePublicKey reads 32 bytes in base64, as wg(8) prints them.
func ParsePublicKey(text string) (PublicKey, error) {
	b, err := decode(text)
	if err != nil {
		return PublicKey{}, fmt.Errorf("public key %q: %w", text, err)
	}
	if PublicKey(b) == nobody {
		return PublicKey{}, fmt.Errorf("public key %q: it is nobody's", text)
	}
	return PublicKey(b), nil
}

func decode(text string) ([keyLength]byte, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(text) // passes line breaks over
	if err != nil || len(b) != keyLength || len(text) != base64.StdEncoding.EncodedLen(keyLength) {
		return [keyLength]byte{}, fmt.Errorf("want %d bytes in base64", keyLength)
	}
	return [keyLength]byte(b), nil
}

// String gives the key in base64.
func (k PublicKey) String() string { return base64.StdEncoding.EncodeToString(k[:]) }

// IsZero tells whether it is no key.
func (k PublicKey) IsZero() bool { return k == PublicKey{} }

// MarshalText gives the key in base64, and nothing for no key.
func (k PublicKey) MarshalText() ([]byte, error) {
	if k.IsZero() {
		return nil, nil
	}
	return []byte(k.String()), nil
}

// UnmarshalText reads what MarshalText gives.
func (k *PublicKey) UnmarshalText(text []byte) (err error) {
	if len(text) == 0 {
		*k = PublicKey{}
		return nil
	}
	*k, err = ParsePublicKey(string(text))
	return err
}

// secret is bytes that are not printed: whatever prints, logs or marshals it gets
// hidden. It cannot be read back from that. The bytes are behind a pointer, because
// fmt shows the fields of a value whose verb it does not know, and asks no method.
type secret struct {
	_     [0]func() // == would compare pointers: Equal
	bytes *[keyLength]byte
}

func secretOf(b [keyLength]byte) secret {
	if b == [keyLength]byte{} {
		return secret{}
	}
	return secret{bytes: &b}
}

const hidden = "(private)"

// String gives no byte of the key.
func (secret) String() string { return hidden }

// Format gives no byte of the key, whatever the verb.
func (secret) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, hidden) }

// MarshalText gives no byte of the key.
func (secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// LogValue gives no byte of the key.
func (secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// UnmarshalText refuses: a key that travels as text is no longer a secret.
func (*secret) UnmarshalText([]byte) error {
	return errors.New("a private key is not read from a document")
}

// IsZero tells whether it is no key.
func (s secret) IsZero() bool { return s.bytes == nil }

// Reveal gives the key's bytes, for whoever must hand them to a device or a file.
func (s secret) Reveal() (b [keyLength]byte) {
	if s.bytes != nil {
		b = *s.bytes
	}
	return b
}

func (s secret) equal(o secret) bool {
	a, b := s.Reveal(), o.Reveal()
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// PrivateKey is a Curve25519 scalar. It prints, logs and marshals as "(private)".
type PrivateKey struct{ secret }

// PresharedKey is what two peers mix into their handshakes besides their keys. Zero
// is none. It prints, logs and marshals as "(private)".
type PresharedKey struct{ secret }

// NewPrivateKey makes a key.
func NewPrivateKey() PrivateKey {
	var b [keyLength]byte
	_, _ = rand.Read(b[:]) // never fails, and ends the program if it would
	b[0] &= 0xf8           // RFC 7748, section 5: as wg(8) does, so that any reader agrees
	b[31] = b[31]&0x7f | 0x40
	return PrivateKeyOf(b)
}

// PrivateKeyOf makes a key of its bytes, as a device gives them.
func PrivateKeyOf(b [keyLength]byte) PrivateKey { return PrivateKey{secretOf(b)} }

// PresharedKeyOf makes a key of its bytes.
func PresharedKeyOf(b [keyLength]byte) PresharedKey { return PresharedKey{secretOf(b)} }

// Equal tells whether two keys are the same.
func (k PrivateKey) Equal(o PrivateKey) bool { return k.equal(o.secret) }

// Equal tells whether two keys are the same.
func (k PresharedKey) Equal(o PresharedKey) bool { return k.equal(o.secret) }

// Public gives the key's public half, and none for no key.
func (k PrivateKey) Public() PublicKey {
	if k.IsZero() {
		return PublicKey{}
	}
	private, err := ecdh.X25519().NewPrivateKey(k.bytes[:])
	if err != nil {
		panic(err) // wrong length only
	}
	return PublicKey(private.PublicKey().Bytes())
}

// text gives the key in base64: for its file, and for its owner.
func (k PrivateKey) text() string {
	b := k.Reveal()
	return base64.StdEncoding.EncodeToString(b[:])
}
