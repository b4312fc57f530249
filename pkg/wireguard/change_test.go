package wireguard

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	now  = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	own  = NewPrivateKey()
	here = netip.MustParseAddrPort("192.0.2.2:21002")
	away = netip.MustParseAddrPort("203.0.113.9:4242")
	next = netip.MustParseAddrPort("198.51.100.7:21002")
)

// key gives a public key that is told from others by its first byte.
func key(name byte) PublicKey { return PublicKey{0: name, 31: 1} }

func prefixes(list ...string) (all []netip.Prefix) {
	for _, text := range list {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// peer has the /64s of the given numbers.
func peer(name byte, numbers ...string) Peer {
	p := Peer{PublicKey: key(name), Endpoint: here}
	for _, n := range numbers {
		p.AllowedIPs = append(p.AllowedIPs, netip.MustParsePrefix("2001:db8:aaaa:"+n+"::/64"))
	}
	return p
}

func device(peers ...Peer) Device {
	return Device{Name: "zwacme", PrivateKey: own, ListenPort: 21001, MTU: 1420, Peers: peers}
}

// after is a device to which all that was applied.
func after(d Device) Status {
	s := Status{Name: d.Name, PublicKey: d.PrivateKey.Public(), ListenPort: d.ListenPort}
	for _, p := range d.Peers {
		s.Peers = append(s.Peers, PeerStatus{Peer: p, LastHandshake: now.Add(-time.Minute)})
	}
	return s
}

func TestDifference(t *testing.T) {
	seconds := 25 * time.Second
	kept := peer('a', "1")
	kept.Keepalive = seconds
	shared := peer('a', "1")
	shared.PresharedKey = PresharedKeyOf([keyLength]byte{1})
	tests := map[string]struct {
		is   Status
		want Device
		says string
	}{
		"nothing": {after(device(peer('a', "1"), peer('b', "2"))), device(peer('b', "2"), peer('a', "1")), ""},
		"a new device": {Status{}, device(peer('a', "1")),
			"public key OWN; listen port 21001; peer A endpoint 192.0.2.2:21002 allowed 2001:db8:aaaa:1::/64"},
		"one more peer": {after(device(peer('a', "1"))), device(peer('a', "1"), peer('b', "2")),
			"peer B endpoint 192.0.2.2:21002 allowed 2001:db8:aaaa:2::/64"},
		"a peer that has nothing yet":      {after(device()), device(Peer{PublicKey: key('b')}), "peer B"},
		"one peer less":                    {after(device(peer('a', "1"), peer('b', "2"))), device(peer('a', "1")), "peer B removed"},
		"keepalive":                        {after(device(peer('a', "1"), peer('b', "2"))), device(kept, peer('b', "2")), "peer A keepalive 25s"},
		"no keepalive":                     {after(device(kept)), device(peer('a', "1")), "peer A keepalive 0s"},
		"preshared key":                    {after(device(peer('a', "1"))), device(shared), "peer A preshared key"},
		"no preshared key":                 {after(device(shared)), device(peer('a', "1")), "peer A preshared key"},
		"one more prefix":                  {after(device(peer('a', "1"))), device(peer('a', "1", "2")), "peer A allowed 2001:db8:aaaa:2::/64"},
		"a prefix moves":                   {after(device(peer('a', "1", "2"), peer('b'))), device(peer('a', "1"), peer('b', "2")), "peer B allowed 2001:db8:aaaa:2::/64"},
		"a prefix moves to a new key":      {after(device(peer('a', "1"))), device(peer('b', "1")), "peer B endpoint 192.0.2.2:21002 allowed 2001:db8:aaaa:1::/64; peer A removed"},
		"one prefix less, the other stays": {after(device(peer('a', "1", "2"))), device(peer('a', "1")), "withdrawn 2001:db8:aaaa:2::/64"},
	}
	names := strings.NewReplacer(own.Public().String(), "OWN", key('a').String(), "A", key('b').String(), "B")
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			change := Difference(test.is, test.want, nil, now)
			says := names.Replace(strings.Join(change.Lines(), "; "))
			if says != test.says {
				t.Errorf("changes %q, want %q", says, test.says)
			}
			if change.Empty() != (test.says == "") {
				t.Errorf("empty: %v", change.Empty())
			}
			is := perform(test.is, change)
			if again := Difference(is, test.want, nil, now); !again.Empty() {
				t.Errorf("a second time: %q", again.Lines())
			}
		})
	}
}

// A peer that is not to be called any more forgets where it was, once it is silent: it
// is made anew. One that is heard stays, and so does one that was never configured to be
// anywhere, unless it is gone.
func TestDifferenceForgets(t *testing.T) {
	gone := peer('a', "1")
	gone.Endpoint = netip.AddrPort{}
	configured := map[PublicKey]netip.AddrPort{key('a'): here}
	const anew = "peer A removed; peer A allowed 2001:db8:aaaa:1::/64"
	for _, row := range []struct {
		what      string
		silent    time.Duration
		endpoints map[PublicKey]netip.AddrPort
		gone      bool
		says      string
	}{
		{"heard", time.Minute, configured, false, ""},
		{"silent", SessionLife + time.Second, configured, false, anew},
		{"it dialled, and may again", SessionLife + time.Second, nil, false, ""},
		{"it dialled, and is gone", SessionLife + time.Second, nil, true, anew},
		{"it is said to be gone, and heard", time.Minute, nil, true, ""},
	} {
		gone.Gone = row.gone
		is := after(device(peer('a', "1")))
		is.Peers[0].LastHandshake = now.Add(-row.silent)
		change := Difference(is, device(gone), row.endpoints, now)
		if says := strings.ReplaceAll(strings.Join(change.Lines(), "; "), key('a').String(), "A"); says != row.says {
			t.Errorf("%s: changes %q, want %q", row.what, says, row.says)
		}
		if row.says != "" {
			if p, _ := perform(is, change).Peer(key('a')); p.Endpoint.IsValid() || len(p.AllowedIPs) != 1 {
				t.Errorf("%s: the peer is %+v then", row.what, p)
			}
		}
	}
}

// What a crash left of a withdrawal goes.
func TestDifferenceRemovesNobody(t *testing.T) {
	left := after(device(peer('a', "1"), Peer{PublicKey: nobody, AllowedIPs: prefixes("2001:db8:aaaa:2::/64")}))
	want := []Step{{PublicKey: nobody, Remove: true}}
	if d := cmp.Diff(want, Difference(left, device(peer('a', "1")), nil, now).Steps, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
		cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

// perform is what a device does with a change: WireGuard's own rules, in short.
func perform(is Status, c Change) Status {
	if c.PrivateKey != nil {
		is.PublicKey = c.PrivateKey.Public()
	}
	if c.ListenPort != 0 {
		is.ListenPort = c.ListenPort
	}
	peers := map[PublicKey]PeerStatus{}
	for _, p := range is.Peers {
		peers[p.PublicKey] = p
	}
	for _, s := range c.Steps {
		p := peers[s.PublicKey]
		p.PublicKey = s.PublicKey
		if s.PresharedKey != nil {
			p.PresharedKey = *s.PresharedKey
		}
		if s.Keepalive != nil {
			p.Keepalive = *s.Keepalive
		}
		if s.Endpoint.IsValid() {
			p.Endpoint = s.Endpoint
		}
		for _, prefix := range s.Take {
			for key, other := range peers {
				other.AllowedIPs = without(other.AllowedIPs, prefix)
				peers[key] = other
			}
			p.AllowedIPs = append(without(p.AllowedIPs, prefix), prefix)
		}
		if peers[s.PublicKey] = p; s.Remove {
			delete(peers, s.PublicKey)
		}
	}
	is.Peers = nil
	for _, p := range peers {
		is.Peers = append(is.Peers, p)
	}
	return is
}

func without(list []netip.Prefix, prefix netip.Prefix) (left []netip.Prefix) {
	for _, p := range list {
		if p != prefix {
			left = append(left, p)
		}
	}
	return left
}

// At no step between two states is there a moment in which a prefix that has a peer
// before and after has none.
func TestDifferenceLeavesNoGap(t *testing.T) {
	states := [][]Peer{
		{peer('a', "1", "2"), peer('b', "3")}, {peer('a', "1"), peer('b', "2", "3")}, {peer('b', "1", "2", "3")},
		{peer('c', "1"), peer('d', "2", "3")}, {peer('a', "3"), peer('b', "2"), peer('c', "1")}, {}, {peer('a', "2")},
	}
	has := func(s Status, prefix netip.Prefix) bool {
		for _, p := range s.Peers {
			if len(without(p.AllowedIPs, prefix)) != len(p.AllowedIPs) {
				return true
			}
		}
		return false
	}
	for _, from := range states {
		for _, to := range states {
			before, goal := after(device(from...)), after(device(to...))
			change := Difference(before, device(to...), nil, now)
			is := before
			for _, step := range change.Steps {
				is = perform(is, Change{Steps: []Step{step}})
				for _, prefix := range prefixes("2001:db8:aaaa:1::/64", "2001:db8:aaaa:2::/64", "2001:db8:aaaa:3::/64") {
					if has(before, prefix) && has(goal, prefix) && !has(is, prefix) {
						t.Errorf("%v to %v: after %q nobody has %v", from, to, step.line(), prefix)
					}
				}
			}
			if d := Difference(is, device(to...), nil, now); !d.Empty() {
				t.Errorf("%v to %v leaves %q", from, to, d.Lines())
			}
		}
	}
}

func TestEndpointFollows(t *testing.T) {
	const live, silent = time.Minute, 10 * time.Minute
	tests := map[string]struct {
		is, want, last netip.AddrPort
		heard          time.Duration // ago; 0: never
		set            bool
	}{
		"as configured":                          {here, here, here, live, false},
		"not known yet":                          {netip.AddrPort{}, here, netip.AddrPort{}, 0, true},
		"roamed, configuration unchanged":        {away, here, here, live, false},
		"roamed, nothing remembered":             {away, here, netip.AddrPort{}, live, false},
		"roamed, configuration changed":          {away, next, here, live, true},
		"roamed to where it is configured now":   {next, next, here, live, false},
		"roamed and silent":                      {away, here, here, silent, true},
		"configured elsewhere, never heard":      {here, next, netip.AddrPort{}, 0, true},
		"a peer that dials, seen":                {away, netip.AddrPort{}, netip.AddrPort{}, silent, false},
		"a peer that dials now, but did not use": {away, netip.AddrPort{}, here, live, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := peer('a', "1")
			p.Endpoint = test.is
			is := after(device(p))
			is.Peers[0].LastHandshake = time.Time{}
			if test.heard > 0 {
				is.Peers[0].LastHandshake = now.Add(-test.heard)
			}
			p.Endpoint = test.want
			endpoints := map[PublicKey]netip.AddrPort{}
			if test.last.IsValid() {
				endpoints[p.PublicKey] = test.last
			}
			change := Difference(is, device(p), endpoints, now)
			if change.Empty() == test.set || test.set && change.Steps[0].Endpoint != test.want {
				t.Errorf("changes %q; endpoint to be set: %v", change.Lines(), test.set)
			}
		})
	}
}
