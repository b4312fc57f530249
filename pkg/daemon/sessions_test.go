package daemon

import (
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
		p := wireguard.PeerStatus{Peer: wireguard.Peer{PublicKey: wireguard.PublicKey{1}}, LastHandshake: handshake, Sent: sent, Received: received}
		return wireguard.Status{Name: name, Peers: []wireguard.PeerStatus{p}}
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
