package wireguard

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRotation(t *testing.T) {
	shaken := func(names ...byte) (s Status) {
		for _, name := range []byte("abc") {
			p := PeerStatus{Peer: Peer{PublicKey: key(name)}}
			for _, n := range names {
				if n == name {
					p.LastHandshake = now.Add(-time.Hour)
				}
			}
			s.Peers = append(s.Peers, p)
		}
		return s
	}
	sends := func(name byte, yes bool) RotatingPeer { return RotatingPeer{New: key(name), Sends: yes} }
	tests := map[string]struct {
		rotation Rotation
		ready    []PublicKey
		done     bool
	}{
		"alone":                        {Rotation{}, nil, true},
		"nobody has shaken hands":      {Rotation{shaken(), []RotatingPeer{sends('a', false)}}, nil, false},
		"one has":                      {Rotation{shaken('b'), []RotatingPeer{sends('a', false), sends('b', false)}}, []PublicKey{key('b')}, false},
		"both have, neither sends":     {Rotation{shaken('a', 'b'), []RotatingPeer{sends('b', false), sends('a', false)}}, []PublicKey{key('a'), key('b')}, false},
		"one sends":                    {Rotation{shaken('a', 'b'), []RotatingPeer{sends('a', true), sends('b', false)}}, []PublicKey{key('a'), key('b')}, false},
		"both send":                    {Rotation{shaken('a', 'b'), []RotatingPeer{sends('a', true), sends('b', true)}}, []PublicKey{key('a'), key('b')}, true},
		"it sends, we cannot yet":      {Rotation{shaken('a'), []RotatingPeer{sends('a', true), sends('b', true)}}, []PublicKey{key('a')}, false},
		"one has not published a key":  {Rotation{shaken('a'), []RotatingPeer{sends('a', true), {}}}, []PublicKey{key('a')}, false},
		"a key that is no peer's here": {Rotation{shaken(), []RotatingPeer{sends('x', true)}}, nil, false},
	}
	for name, test := range tests {
		if d := cmp.Diff(test.ready, test.rotation.Established()); d != "" {
			t.Errorf("%s: established (-want +got)\n%s", name, d)
		}
		if got := test.rotation.Done(); got != test.done {
			t.Errorf("%s: done %v, want %v", name, got, test.done)
		}
	}
}
