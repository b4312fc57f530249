package device

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/zosnet/zosnet/pkg/wireguard"
)

// After the overlap of a rotation nothing that comes under the old key is taken: no packet
// of a session that was good until then, and no new session. What comes under the new key is.
func TestOldKeyIsRefused(t *testing.T)       { oldKey(t, true) }
func TestKernelOldKeyIsRefused(t *testing.T) { oldKey(t, false) }

func oldKey(t *testing.T, userspace bool) {
	s := newScene(t, 3, userspace)
	a, b, thief := s.nodes[0], s.nodes[1], s.nodes[2]
	inbox, err := b.ListenPacket("udp6", addrPort(b, 7003).String())
	check(t, err)
	defer func() { _ = inbox.Close() }()
	sender, err := a.ListenPacket("udp6", addrPort(a, 7003).String())
	check(t, err)
	defer func() { _ = sender.Close() }()
	say := func(device, word string) {
		t.Helper()
		a.route(b, device)
		_, err := sender.WriteTo([]byte(word), net.UDPAddrFromAddrPort(addrPort(b, 7003)))
		check(t, err)
	}
	// hear gives what comes until a word does, which is said again until then.
	hear := func(device, last string) (words []string) {
		t.Helper()
		eventually(t, last+" to come", func() bool {
			say(device, last)
			check(t, inbox.SetReadDeadline(time.Now().Add(200*time.Millisecond)))
			buffer := make([]byte, 100)
			for {
				n, _, err := inbox.ReadFrom(buffer)
				if err != nil {
					return slices.Contains(words, last)
				}
				words = append(words, string(buffer[:n]))
			}
		})
		return words
	}
	s.join()
	a.reaches(b)

	// Both have a next device; for as long as there are two, what comes over either counts.
	old := a.key
	next := [2]wireguard.PrivateKey{wireguard.NewPrivateKey(), wireguard.NewPrivateKey()}
	second := func(n, other *node, own, theirs wireguard.PrivateKey) {
		d := n.device(other)
		d.Name, d.PrivateKey, d.ListenPort = n.link(1), own, n.port^0x100
		d.Peers[0].PublicKey, d.Peers[0].Endpoint = theirs.Public(), netip.AddrPortFrom(other.at4(), other.port^0x100)
		n.apply(d)
	}
	second(a, b, next[0], next[1])
	second(b, a, next[1], next[0])
	hear(a.link(0), "old")
	hear(a.link(1), "new")

	// b is done; a has not heard of it.
	b.remove(b.link(0))
	sent := func() uint64 {
		p, _ := a.read(a.link(0)).Peer(b.key.Public())
		return p.Sent
	}
	before := sent()
	for range 20 {
		say(a.link(0), "late")
	}
	eventually(t, "a to speak under the old key", func() bool { return sent() > before })
	if words := hear(a.link(1), "new again"); slices.Contains(words, "late") {
		t.Error("a packet under the old key was taken")
	}

	// Somebody else has it by now, and calls where the new one is answered.
	stolen := thief.device(b)
	stolen.PrivateKey = old
	stolen.Peers[0].PublicKey, stolen.Peers[0].Endpoint = next[1].Public(), netip.AddrPortFrom(b.at4(), b.port^0x100)
	thief.apply(stolen)
	thief.route(b, thief.link(0))
	eventually(t, "a call under the old key", func() bool {
		c, err := thief.Dial(t.Context(), "udp6", addrPort(b, 7003).String())
		check(t, err)
		_, _ = c.Write([]byte("stolen"))
		check(t, c.Close())
		return thief.read(thief.link(0)).Peers[0].Sent > 0
	})
	if words := hear(a.link(1), "new at last"); slices.Contains(words, "stolen") {
		t.Error("what somebody else says under the old key was taken")
	}
	if p := thief.read(thief.link(0)).Peers[0]; p.Received > 0 || !p.LastHandshake.IsZero() {
		t.Errorf("a call under the old key was answered: %d bytes, session of %v", p.Received, p.LastHandshake)
	}
}

// A clock that was ahead and is put back makes a node's key one that its peers answer no
// more, until the old time has passed again. A new key they answer at once.
func TestKeyOfAClockThatWasAhead(t *testing.T)       { clockStep(t, true) }
func TestKernelKeyOfAClockThatWasAhead(t *testing.T) { clockStep(t, false) }

func clockStep(t *testing.T, userspace bool) {
	s := newScene(t, 2, userspace)
	a, b := s.nodes[0], s.nodes[1]
	peer := b.device(a)
	b.apply(peer)
	c, err := a.Dial(t.Context(), "udp4", netip.AddrPortFrom(b.at4(), b.port).String())
	check(t, err)
	defer func() { _ = c.Close() }()
	sender := uint32(0)
	call := func(key wireguard.PrivateKey, at time.Time, within time.Duration) bool {
		t.Helper()
		time.Sleep(100 * time.Millisecond) // of one peer's calls 20 a second are looked at
		sender++
		return answered(t, c, initiation(t, key, b.key.Public(), at, sender), within)
	}
	now := time.Now()
	ahead := now.Add(24 * time.Hour)
	isAnswered := func(what string, key wireguard.PrivateKey, at time.Time) {
		t.Helper()
		eventually(t, what, func() bool {
			at = at.Add(time.Second)
			return call(key, at, time.Second)
		})
	}
	isAnswered("the clock that is ahead", a.key, ahead)
	for _, at := range []time.Time{now, now.Add(time.Minute), now.Add(23 * time.Hour)} {
		if call(a.key, at, 500*time.Millisecond) {
			t.Errorf("put back to %v, the key is answered that was used at %v", at, ahead)
		}
	}
	isAnswered("the old key, once the old time has passed", a.key, ahead.Add(time.Hour))

	next := wireguard.NewPrivateKey()
	peer.Peers[0].PublicKey = next.Public()
	b.apply(peer)
	isAnswered("the new key, at the right time", next, now)
	if call(a.key, ahead.Add(2*time.Hour), 500*time.Millisecond) {
		t.Error("the old key is answered when it is a peer's no more")
	}
}
