package device

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/binary"
	"net"
	"testing"
	"time"

	"golang.org/x/crypto/blake2s"
	"golang.org/x/crypto/chacha20poly1305"
	noise "golang.zx2c4.com/wireguard/device"

	"github.com/zosnet/zosnet/pkg/wireguard"
)

// initiation is the first message of a handshake (WireGuard whitepaper, 5.4.2), by the
// clock that it is told.
func initiation(t *testing.T, key wireguard.PrivateKey, peer wireguard.PublicKey, at time.Time, sender uint32) []byte {
	t.Helper()
	private := func(raw []byte) *ecdh.PrivateKey {
		k, err := ecdh.X25519().NewPrivateKey(raw)
		check(t, err)
		return k
	}
	raw := key.Reveal()
	static, ephemeral := private(raw[:]), private(random32(t))
	theirs, err := ecdh.X25519().NewPublicKey(peer[:])
	check(t, err)
	chain, hash := noise.InitialChainKey, noise.InitialHash
	mix := func(data []byte) { hash = blake2s.Sum256(append(hash[:], data...)) }
	seal := func(with *ecdh.PrivateKey, text []byte) []byte {
		shared, err := with.ECDH(theirs)
		check(t, err)
		var secret [32]byte
		noise.KDF2(&chain, &secret, chain[:], shared)
		aead, err := chacha20poly1305.New(secret[:])
		check(t, err)
		sealed := aead.Seal(nil, make([]byte, 12), text, hash[:])
		mix(sealed)
		return sealed
	}
	mix(peer[:])
	m := noise.MessageInitiation{Type: noise.MessageInitiationType, Sender: sender, Ephemeral: noise.NoisePublicKey(ephemeral.PublicKey().Bytes())}
	noise.KDF1(&chain, chain[:], m.Ephemeral[:])
	mix(m.Ephemeral[:])
	copy(m.Static[:], seal(ephemeral, static.PublicKey().Bytes()))
	stamp := binary.BigEndian.AppendUint64(nil, 0x400000000000000a+uint64(at.Unix())) // TAI64N
	copy(m.Timestamp[:], seal(static, binary.BigEndian.AppendUint32(stamp, uint32(at.Nanosecond()))))
	var out bytes.Buffer
	check(t, binary.Write(&out, binary.LittleEndian, &m))
	var macs noise.CookieGenerator
	macs.Init(noise.NoisePublicKey(peer))
	macs.AddMacs(out.Bytes())
	return out.Bytes()
}

func random32(t *testing.T) []byte {
	t.Helper()
	b := make([]byte, 32)
	_, err := rand.Read(b)
	check(t, err)
	return b
}

// answered tells whether a handshake that is begun over a connection is answered in time.
func answered(t *testing.T, c net.Conn, message []byte, within time.Duration) bool {
	t.Helper()
	_, err := c.Write(message)
	check(t, err)
	check(t, c.SetReadDeadline(time.Now().Add(within)))
	for answer := make([]byte, 2048); ; {
		n, err := c.Read(answer)
		if err != nil {
			return false
		}
		if n == noise.MessageResponseSize && answer[0] == noise.MessageResponseType && bytes.Equal(answer[8:12], message[4:8]) {
			return true
		}
	}
}
