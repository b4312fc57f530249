package daemon

import (
	"net/netip"
	"testing"
	"time"

	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/wireguard"
)

// TestSessions: a session may be used for 180 s after its handshake, and a device is
// read often while something tries or has changed, seldom while nothing does.
func TestSessions(t *testing.T) {
	const name = "zoacme-1"
	begin := time.Unix(1_000_000, 0)
	status := func(handshake time.Time, sent, received uint64) wireguard.Status {
		return statusOf(name, handshake, sent, received)
	}
	shaken := begin.Add(30 * time.Second)
	s := newSessions(nil)
	for _, row := range []struct {
		what  string
		at    time.Duration
		is    wireguard.Status
		want  bool
		pause time.Duration
	}{
		{"at first", 0, status(time.Time{}, 0, 0), false, sessionsOften},
		{"nothing happens", 3 * time.Second, status(time.Time{}, 0, 0), false, 2 * sessionsOften},
		{"it tries", 9 * time.Second, status(time.Time{}, 148, 0), false, sessionsOften},
		{"it has shaken hands", 30 * time.Second, status(shaken, 240, 92), true, sessionsOften},
		{"traffic", 33 * time.Second, status(shaken, 5000, 5000), true, 2 * sessionsOften},
		{"still", 39 * time.Second, status(shaken, 9000, 9000), true, 4 * sessionsOften},
		{"still", 51 * time.Second, status(shaken, 9001, 9001), true, sessionsSeldom},
		{"still", 75 * time.Second, status(shaken, 9002, 9002), true, sessionsSeldom},
		{"silence", 200 * time.Second, status(shaken, 9500, 9002), true, sessionsOften},
		{"for too long", 210 * time.Second, status(shaken, 9600, 9002), false, sessionsOften},
	} {
		now := begin.Add(row.at)
		s.note(row.is, now)
		input := s.input(now)
		if len(input) != 1 || input[0] != (plan.Session{Interface: name, PublicKey: [32]byte{1}, Established: row.want}) {
			t.Errorf("%s: the plan is told %+v", row.what, input)
		}
		if got := s.seen[name].next.Sub(now); got != row.pause {
			t.Errorf("%s: read again after %v, want %v", row.what, got, row.pause)
		}
	}
	if err := s.read(nil, begin); err != nil || len(s.input(begin)) != 0 {
		t.Errorf("a device that is not planned any more is not forgotten: %v", err)
	}
}

// statusOf is a device with one peer, which has a prefix.
func statusOf(name string, handshake time.Time, sent, received uint64) wireguard.Status {
	p := wireguard.PeerStatus{
		Peer:          wireguard.Peer{PublicKey: wireguard.PublicKey{1}, AllowedIPs: []netip.Prefix{netip.MustParsePrefix("2001:db8:bbbb:2::/64")}},
		LastHandshake: handshake, Sent: sent, Received: received,
	}
	return wireguard.Status{Name: name, Peers: []wireguard.PeerStatus{p}}
}

// TestLost: a peer is lost that is spoken to and does not answer for 25 s. To say
// nothing is no loss, nor is it an answer to call without being heard.
func TestLost(t *testing.T) {
	const name = "zoacme-1"
	begin := time.Unix(1_000_000, 0)
	type reading struct {
		at             time.Duration
		handshake      time.Duration // 0: none
		sent, received uint64
	}
	for _, row := range []struct {
		what     string
		readings []reading
		want     bool
	}{
		{"nothing is said", []reading{{0, 0, 0, 0}, {60 * time.Second, 0, 0, 0}}, false},
		{"it is called", []reading{{0, 0, 0, 0}, {3 * time.Second, 0, 148, 0}, {27 * time.Second, 0, 740, 0}}, false},
		{"and called", []reading{{0, 0, 0, 0}, {3 * time.Second, 0, 148, 0}, {28 * time.Second, 0, 740, 0}}, true},
		{"it calls and is not heard", []reading{{0, 0, 0, 0}, {3 * time.Second, 0, 92, 148}, {28 * time.Second, 0, 460, 740}}, true},
		{"it answers", []reading{{0, 0, 0, 0}, {3 * time.Second, 0, 148, 0}, {9 * time.Second, 8 * time.Second, 240, 92}, {40 * time.Second, 8 * time.Second, 240, 92}}, false},
		{"its packets come", []reading{{0, -time.Second, 100, 100}, {3 * time.Second, -time.Second, 200, 100}, {12 * time.Second, -time.Second, 300, 132}, {35 * time.Second, -time.Second, 400, 164}}, false},
		{"they come no more", []reading{{0, -time.Second, 100, 100}, {3 * time.Second, -time.Second, 200, 100}, {30 * time.Second, -time.Second, 300, 100}}, true},
		{"they come again", []reading{{0, -time.Second, 100, 100}, {3 * time.Second, -time.Second, 200, 100}, {30 * time.Second, -time.Second, 300, 100}, {33 * time.Second, -time.Second, 400, 132}}, false},
	} {
		s := newSessions(nil)
		var now time.Time
		for _, r := range row.readings {
			var handshake time.Time
			if r.handshake != 0 {
				handshake = begin.Add(r.handshake)
			}
			now = begin.Add(r.at)
			s.note(statusOf(name, handshake, r.sent, r.received), now)
		}
		if got := s.input(now)[0].Lost; got != row.want {
			t.Errorf("%s: lost %v", row.what, got)
		}
	}
	s := newSessions(nil)
	is := statusOf(name, time.Time{}, 1000, 0)
	is.Peers[0].AllowedIPs = nil
	s.note(is, begin)
	if !s.input(begin)[0].Lost {
		t.Error("who was lost before this daemon began is not lost any more")
	}
}
