package wireguard

import (
	"slices"
	"time"
)

// Linger is how long the old device stays after a rotation is Done, for what is on
// its way: longer than any round trip.
const Linger = 2 * time.Second

// Rotation is a change of keys as it stands on this node: two devices side by side,
// the old one and the new one, each with its own key and listen port, and with the
// same peers and prefixes.
//
// One device cannot do it. A prefix has one peer, so that when a peer's new key gets
// the prefix, what that peer still sends with its old key is dropped, and the two
// ends cannot change at the same moment. Two devices accept from both keys as long
// as they stand:
//
//  1. Every node makes its new device and publishes its key and port. Nothing is sent
//     over it but handshakes, which a keepalive starts.
//  2. A peer whose new key has shaken hands (Established) gets its route through the
//     new device: one replaced route, packet by packet the one or the other. The
//     node publishes that it sends there.
//  3. When all peers do (Done), nobody sends over the old device any more. It goes,
//     after what was on its way has come (Linger).
//
// A node that is asked for a rotation by a peer's new key makes its new device, too;
// so a rotation spreads over the network. A node that is away delays step 3 between
// itself and the others, and nothing else: both devices carry meanwhile.
type Rotation struct {
	New   Status
	Peers []RotatingPeer
}

// RotatingPeer is a peer in the course of a rotation.
type RotatingPeer struct {
	New   PublicKey // zero: it has not published one yet
	Sends bool      // it says that it sends to us over its new device
}

// Established gives the peers, by their new keys, that packets may be sent to over
// the new device: both ends have a session, for a handshake counts at its answering
// end only when the first packet has come under it.
func (r Rotation) Established() []PublicKey {
	var ready []PublicKey
	for _, p := range r.Peers {
		if r.ready(p) {
			ready = append(ready, p.New)
		}
	}
	slices.SortFunc(ready, func(a, b PublicKey) int { return slices.Compare(a[:], b[:]) })
	return ready
}

func (r Rotation) ready(p RotatingPeer) bool {
	if p.New.IsZero() {
		return false
	}
	is, known := r.New.Peer(p.New)
	return known && !is.LastHandshake.IsZero()
}

// Done tells whether neither we nor any peer needs the old device for what is sent
// from now on.
func (r Rotation) Done() bool {
	for _, p := range r.Peers {
		if !p.Sends || !r.ready(p) {
			return false
		}
	}
	return true
}
