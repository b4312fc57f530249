package trust

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// TokenPrefix begins a token's text and says its format.
const TokenPrefix = "zosnet-join-1:"

const (
	maxEndpoints   = 8
	tokenSumLength = 4
)

// Token is what brings one node into a grid: how to reach the node that invites,
// how to know it, and a secret that it knows by its hash. All secrets come from
// one seed.
type Token struct {
	sealed
	TokenAddress
	Expires time.Time // by the clock of who made it: for people, nobody else judges by it
	seed    *[32]byte
}

// TokenAddress is how the node that invites is found and known. Nothing of it is
// secret.
type TokenAddress struct {
	CA         Fingerprint
	ControlKey ControlKey       // of the node that invites
	Service    netip.AddrPort   // its invitation service, on its control address
	Endpoints  []netip.AddrPort // where its control interface is reached, 1 to 8
}

// NewToken makes a token. Expires is kept to the second.
func NewToken(address TokenAddress, expires time.Time) (*Token, error) {
	t := &Token{sealed: "join token", TokenAddress: address, Expires: expires.UTC().Truncate(time.Second), seed: new([32]byte)}
	if err := t.check(); err != nil {
		return nil, fmt.Errorf("make a join token: %w", err)
	}
	if _, err := rand.Read(t.seed[:]); err != nil {
		return nil, fmt.Errorf("make a join token: %w", err)
	}
	return t, nil
}

func (t *Token) check() error {
	bad := len(t.Endpoints) == 0 || len(t.Endpoints) > maxEndpoints || !usable(t.Service) || !t.Service.Addr().Is6() ||
		t.ControlKey == ControlKey{} || t.CA == Fingerprint{} || t.Expires.Unix() <= 0
	for _, e := range t.Endpoints {
		bad = bad || !usable(e)
	}
	if bad {
		return fmt.Errorf("%w: want a fingerprint, a control key, an IPv6 service address, a time and 1 to %d endpoints", ErrMalformed, maxEndpoints)
	}
	return nil
}

func usable(a netip.AddrPort) bool {
	addr := a.Addr()
	return addr.IsValid() && !addr.IsUnspecified() && !addr.IsMulticast() && !addr.Is4In6() && addr.Zone() == "" && a.Port() != 0
}

// Reveal gives the token's text, secret and all, for the person who carries it to
// the next node: TokenPrefix and URL-safe base64.
func (t *Token) Reveal() string {
	b := append([]byte{}, t.seed[:]...)
	b = append(append(b, t.CA[:]...), t.ControlKey[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(t.Expires.Unix()))
	for _, a := range append([]netip.AddrPort{t.Service}, t.Endpoints...) {
		b = append(append(b, byte(a.Addr().BitLen()/8)), a.Addr().AsSlice()...)
		b = binary.BigEndian.AppendUint16(b, a.Port())
	}
	sum := sha256.Sum256(b)
	return TokenPrefix + base64.RawURLEncoding.EncodeToString(append(b, sum[:tokenSumLength]...))
}

// ParseToken takes a token's text. White space around and in it, as it comes from
// a terminal or a mail, does not matter. Errors never repeat it.
func ParseToken(text string) (*Token, error) {
	encoded, ok := strings.CutPrefix(strings.Join(strings.Fields(text), ""), TokenPrefix)
	if !ok {
		return nil, fmt.Errorf("join token: %w: it begins with %s; is it whole, and made by a program of this version?", ErrMalformed, TokenPrefix)
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil || len(b) < tokenSumLength {
		return nil, fmt.Errorf("join token: %w: a character is wrong or missing; copy it whole", ErrMalformed)
	}
	body, sum := b[:len(b)-tokenSumLength], sha256.Sum256(b[:len(b)-tokenSumLength])
	if !bytes.Equal(sum[:tokenSumLength], b[len(body):]) {
		return nil, fmt.Errorf("join token: %w: a character is wrong or missing; copy it whole", ErrMalformed)
	}
	t := &Token{sealed: "join token", seed: new([32]byte)}
	if !t.decode(body) || t.check() != nil {
		return nil, fmt.Errorf("join token: %w: its parts are not those of a token", ErrMalformed)
	}
	return t, nil
}

func (t *Token) decode(b []byte) bool {
	for _, part := range []*[32]byte{t.seed, (*[32]byte)(&t.CA), (*[32]byte)(&t.ControlKey)} {
		if copy(part[:], b) < len(part) {
			return false
		}
		b = b[len(part):]
	}
	if len(b) < 8 {
		return false
	}
	seconds := binary.BigEndian.Uint64(b)
	if b = b[8:]; seconds > 1<<40 {
		return false
	}
	t.Expires = time.Unix(int64(seconds), 0).UTC()
	for first := true; len(b) > 0 && len(t.Endpoints) < maxEndpoints; first = false {
		length := int(b[0])
		if len(b) < 1+length+2 {
			return false
		}
		addr, ok := netip.AddrFromSlice(b[1 : 1+length])
		if !ok {
			return false
		}
		a := netip.AddrPortFrom(addr, binary.BigEndian.Uint16(b[1+length:]))
		if b = b[1+length+2:]; first {
			t.Service = a
		} else {
			t.Endpoints = append(t.Endpoints, a)
		}
	}
	return len(b) == 0
}

// derive makes one of the token's secrets (HKDF-SHA-256, RFC 5869).
func (t *Token) derive(what string) [32]byte {
	key, err := hkdf.Key(sha256.New, t.seed[:], nil, "zosnet join token 1 "+what, 32)
	if err != nil {
		panic(err) // only for lengths that SHA-256 cannot give
	}
	return [32]byte(key)
}

// ID names the token. It is no secret.
func (t *Token) ID() string {
	id := t.derive("id")
	return hex.EncodeToString(id[:8])
}

// Secret is what proves to the invitation service that one has the token.
func (t *Token) Secret() string {
	secret := t.derive("secret")
	return base64.RawURLEncoding.EncodeToString(secret[:])
}

// PeerPrivateKey is the WireGuard private key with which the joining node reaches
// the control network, until it has one of its own there.
func (t *Token) PeerPrivateKey() [32]byte { return t.derive("peer") }

// PeerPublicKey is the public half.
func (t *Token) PeerPublicKey() ControlKey {
	private := t.PeerPrivateKey()
	key, err := ecdh.X25519().NewPrivateKey(private[:])
	if err != nil {
		panic(err) // any 32 bytes are an X25519 key
	}
	return ControlKey(key.PublicKey().Bytes())
}

// Pending gives what the node that invites keeps of the token.
func (t *Token) Pending() PendingToken {
	return PendingToken{ID: t.ID(), Hash: hashSecret(t.Secret()), Peer: t.PeerPublicKey(), Expires: t.Expires}
}
