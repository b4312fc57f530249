package trust

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	formatVersion = 1
	// maxSigned bounds an envelope, in bytes; etcd takes 1.5 MiB.
	maxSigned = 1 << 20
)

// Kind is what a signed value says. It is part of what is signed, so that one
// kind is never read as another.
type Kind string

// What nodes sign.
const (
	KindRecord     Kind = "record"     // nodes/NODE/record
	KindNetwork    Kind = "network"    // nodes/NODE/networks/NETWORK
	KindAttachment Kind = "attachment" // nodes/NODE/attachments/NETWORK/WORKLOAD
	KindBinding    Kind = "binding"    // nodes/NODE/bindings/NETWORK/WORKLOAD/ADDRESS
)

// Signed is the envelope in which a node's value is stored. The signature is made
// with the node's key over kind, node, key, serial and payload.
type Signed struct {
	Version int    `json:"version"`
	Kind    Kind   `json:"kind"`
	Node    string `json:"node"`
	// Key is the value's place in the registry, below its root: "nodes/n1/record".
	Key string `json:"key"`
	// Serial counts up at the node, over all its values or for each.
	Serial uint64 `json:"serial"`
	// Payload is text, JSON by custom. It is a string, not a part of this JSON, so
	// that it stays the same to the byte whoever writes the envelope again.
	Payload   string `json:"payload"`
	Signature []byte `json:"signature"` // ECDSA P-256 over SHA-256, ASN.1
}

// Sign makes the envelope of a value, as it is stored. The key's second part must
// be the node: "nodes/NODE/…".
func (k *NodeKey) Sign(node string, kind Kind, key string, serial uint64, payload []byte) ([]byte, error) {
	s := Signed{Version: formatVersion, Kind: kind, Node: node, Key: key, Serial: serial, Payload: string(payload)}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("sign %s: %w", key, err)
	}
	var err error
	if s.Signature, err = ecdsa.SignASN1(rand.Reader, k.key, s.digest()); err != nil {
		return nil, fmt.Errorf("sign %s: %w", key, err)
	}
	value, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("sign %s: %w", key, err)
	}
	if len(value) > maxSigned {
		return nil, fmt.Errorf("sign %s: %d bytes, at most %d can be", key, len(value), maxSigned)
	}
	return value, nil
}

// DecodeSigned takes an envelope apart. Nothing in it is proven yet.
func DecodeSigned(value []byte) (*Signed, error) {
	if len(value) > maxSigned {
		return nil, fmt.Errorf("%w: %d bytes, at most %d can be", ErrMalformed, len(value), maxSigned)
	}
	var s Signed
	if err := json.Unmarshal(value, &s); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if s.Version != formatVersion {
		return nil, fmt.Errorf("%w: format version %d, this program knows %d", ErrMalformed, s.Version, formatVersion)
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	return &s, nil
}

func (s *Signed) check() error {
	path := strings.Split(s.Key, "/")
	switch {
	case s.Kind == "" || s.Node == "" || s.Serial == 0:
		return fmt.Errorf("%w: kind, node or serial is missing", ErrMalformed)
	case len(path) < 3 || path[0] != "nodes":
		return fmt.Errorf("%w: the key %q is not one of a node", ErrMalformed, s.Key)
	case path[1] != s.Node:
		return fmt.Errorf("%w: %s speaks for %s", ErrOtherNode, s.Node, s.Key)
	case !utf8.ValidString(s.Payload) || !utf8.ValidString(s.Key) || !utf8.ValidString(string(s.Kind)):
		return fmt.Errorf("%w: not UTF-8", ErrMalformed)
	}
	return nil
}

func (s *Signed) digest() []byte {
	return digest("zosnet signed value 1", s.Kind, s.Node, s.Key, s.Serial, s.Payload)
}

// digest gives the SHA-256 of its parts, each with its length before it, so that
// no two lists of parts read the same. The first names what the others are.
func digest(parts ...any) []byte {
	h := sha256.New()
	var length [8]byte
	write := func(text string) {
		binary.BigEndian.PutUint64(length[:], uint64(len(text)))
		h.Write(length[:])
		h.Write([]byte(text))
	}
	for _, part := range parts {
		switch p := part.(type) {
		case string:
			write(p)
		case Kind:
			write(string(p))
		case uint64:
			write(string(binary.BigEndian.AppendUint64(nil, p)))
		default:
			panic(fmt.Sprintf("digest of a %T", part))
		}
	}
	return h.Sum(nil)
}

// Value is what a node said, proven.
type Value struct {
	Node    string
	Kind    Kind
	Key     string
	Serial  uint64
	Payload []byte
}

// Open proves a value that was found under a key: that this node signed it, as
// this kind, for this key, with a certificate that is valid now. Errors wrap
// ErrMalformed, ErrOtherNode, ErrOtherKey, ErrOtherKind, ErrNotYetValid,
// ErrExpired, ErrRevoked or ErrSignature. Whether it is a replay, [Seen] says.
func (id *Identity) Open(value []byte, kind Kind, key string, now time.Time) (*Value, error) {
	s, err := DecodeSigned(value)
	if err == nil {
		err = id.prove(s, kind, key, now)
	}
	if err != nil {
		return nil, fmt.Errorf("value of %s: %w", key, err)
	}
	return s.value(), nil
}

func (s *Signed) value() *Value {
	return &Value{Node: s.Node, Kind: s.Kind, Key: s.Key, Serial: s.Serial, Payload: []byte(s.Payload)}
}

// Open proves that a value that was found under a key was signed with this one, by
// whatever certificate and whenever. Errors are those of [Identity.Open].
func (k *NodeKey) Open(value []byte, node string, kind Kind, key string) (*Value, error) {
	s, err := DecodeSigned(value)
	if err == nil {
		err = s.is(node, kind, key)
	}
	if err == nil && !ecdsa.VerifyASN1(&k.key.PublicKey, s.digest(), s.Signature) {
		err = ErrSignature
	}
	if err != nil {
		return nil, fmt.Errorf("value of %s: %w", key, err)
	}
	return s.value(), nil
}

// is tells whether that is what it says of itself.
func (s *Signed) is(node string, kind Kind, key string) error {
	switch {
	case s.Key != key:
		return fmt.Errorf("%w: %s", ErrOtherKey, s.Key)
	case s.Node != node:
		return fmt.Errorf("%w: signed as %s, certificate of %s", ErrOtherNode, s.Node, node)
	case s.Kind != kind:
		return fmt.Errorf("%w: %s, want %s", ErrOtherKind, s.Kind, kind)
	}
	return nil
}

func (id *Identity) prove(s *Signed, kind Kind, key string, now time.Time) error {
	if err := s.is(id.Node, kind, key); err != nil {
		return err
	}
	sum := s.digest()
	var unusable error
	for _, cert := range id.certificates {
		if !ecdsa.VerifyASN1(cert.key, sum, s.Signature) {
			continue
		}
		err := cert.valid(now)
		if err == nil {
			return nil
		}
		unusable = errors.Join(unusable, err)
	}
	if unusable != nil {
		return unusable
	}
	return ErrSignature
}
