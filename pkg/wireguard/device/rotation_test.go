package device

import (
	"net/netip"
	"testing"
	"time"

	"github.com/zosnet/zosnet/pkg/wireguard"
	"github.com/zosnet/zosnet/test/probe"
)

// Both nodes change their keys at once, and once more one after the other, while a
// thousand datagrams a second go each way: all arrive.
func TestRotation(t *testing.T)       { rotation(t, true) }
func TestKernelRotation(t *testing.T) { rotation(t, false) }

func rotation(t *testing.T, userspace bool) {
	s := newScene(t, 2, userspace)
	a, b := s.nodes[0], s.nodes[1]
	s.join()
	a.reaches(b)
	there, err := probe.StartSequence(t.Context(), a.Machine, b.Machine, addrPort(b, 7000), 1000)
	check(t, err)
	back, err := probe.StartSequence(t.Context(), b.Machine, a.Machine, addrPort(a, 7000), 1000)
	check(t, err)
	first := [2]wireguard.PublicKey{a.key.Public(), b.key.Public()}
	rotate(s, 0, 1, 0)
	rotate(s, 1, 0, 300*time.Millisecond)
	lossless(t, there, 3000)
	lossless(t, back, 3000)
	if last := [2]wireguard.PublicKey{a.key.Public(), b.key.Public()}; last[0] == first[0] || last[1] == first[1] {
		t.Error("a key is the same as before")
	}
	if got := a.read(a.link(0)).PublicKey; got != a.key.Public() {
		t.Error("the device has another key")
	}
}

// rotating is a node in the course of a rotation, and what it publishes.
type rotating struct {
	*node
	key   wireguard.PrivateKey
	port  uint16
	sends bool
	done  time.Time
	gone  bool
}

// rotate changes the keys of both nodes of a scene from one generation of devices to
// another; the second begins later.
func rotate(s *scene, old, next int, later time.Duration) {
	s.t.Helper()
	nodes := [2]*rotating{}
	for i, n := range s.nodes {
		nodes[i] = &rotating{node: n, key: wireguard.NewPrivateKey(), port: n.port ^ 0x100}
	}
	began := time.Now()
	eventually(s.t, "the rotation to be done", func() bool {
		for i, n := range nodes {
			if i == 0 || time.Since(began) > later {
				n.step(nodes[1-i], old, next)
			}
		}
		return nodes[0].gone && nodes[1].gone
	})
	for _, n := range nodes {
		n.node.key, n.node.port = n.key, n.port
	}
}

// step is what a daemon does again and again.
func (n *rotating) step(peer *rotating, old, next int) {
	if n.gone {
		return
	}
	d := n.device()
	d.Name, d.PrivateKey, d.ListenPort = n.link(next), n.key, n.port
	other := peer.peer()
	other.PublicKey, other.Keepalive = peer.key.Public(), time.Second
	other.Endpoint = netip.AddrPortFrom(peer.at4(), peer.port)
	d.Peers = append(d.Peers, other)
	n.apply(d)
	// A handshake counts at its answering end only when the first packet has come
	// under it, so both ends can send.
	is, _ := n.read(d.Name).Peer(peer.key.Public())
	if !is.LastHandshake.IsZero() && !n.sends {
		n.route(peer.node, d.Name)
		n.sends = true
	}
	if !n.sends || !peer.sends {
		return
	}
	if n.done.IsZero() {
		n.done = time.Now()
	}
	if time.Since(n.done) > wireguard.Linger {
		n.remove(n.link(old))
		n.gone = true
	}
}
