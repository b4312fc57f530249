package wireguard

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// nobody is a public key whose private key nobody has: the hash of a sentence.
var nobody = PublicKey(sha256.Sum256([]byte("zosnet: a peer that is nobody, for what nobody may send from")))

// Change is what makes one device of another. Steps come in order, and each touches
// one peer.
type Change struct {
	PrivateKey *PrivateKey
	ListenPort uint16 // 0: stays
	Steps      []Step
}

// Step is a change of one peer; what is not given stays.
type Step struct {
	PublicKey    PublicKey
	Remove       bool
	PresharedKey *PresharedKey // zero: none any more
	Endpoint     netip.AddrPort
	Keepalive    *time.Duration
	// Take are prefixes that it has from now on, whoever had them: WireGuard moves
	// a prefix in one step, so that there is always a peer for it.
	Take []netip.Prefix
}

// Empty tells whether there is nothing to do.
func (c Change) Empty() bool {
	return c.PrivateKey == nil && c.ListenPort == 0 && len(c.Steps) == 0
}

// Difference gives the smallest change from what a device is to what it should be.
//
// Endpoints are the ones that peers were last configured with, where that is known:
// a peer that was heard from elsewhere stays there until its configuration changes,
// or until it has been silent for as long as a session lives.
func Difference(is Status, want Device, endpoints map[PublicKey]netip.AddrPort, now time.Time) Change {
	var c Change
	if is.PublicKey != want.PrivateKey.Public() {
		c.PrivateKey = &want.PrivateKey
	}
	if is.ListenPort != want.ListenPort {
		c.ListenPort = want.ListenPort
	}
	wanted, given := map[PublicKey]bool{}, map[netip.Prefix]bool{}
	for _, p := range want.Peers {
		wanted[p.PublicKey] = true
		for _, prefix := range p.AllowedIPs {
			given[prefix] = true
		}
		have, known := is.Peer(p.PublicKey)
		last, configured := endpoints[p.PublicKey]
		if known && (configured || p.Gone) && forgotten(have, p, now) {
			c.Steps = append(c.Steps, Step{PublicKey: p.PublicKey, Remove: true})
			have, known = PeerStatus{}, false
		}
		if s, differs := change(have, p, known, moved(have, p.Endpoint, last, configured, now)); differs {
			c.Steps = append(c.Steps, s)
		}
	}
	c.Steps = append(c.Steps, withdraw(is, wanted, given)...)
	for _, p := range is.Peers {
		if !wanted[p.PublicKey] {
			c.Steps = append(c.Steps, Step{PublicKey: p.PublicKey, Remove: true})
		}
	}
	return c
}

// change gives what a peer lacks, and tells whether it lacks anything.
func change(is PeerStatus, want Peer, known, move bool) (Step, bool) {
	s := Step{PublicKey: want.PublicKey}
	if !is.PresharedKey.Equal(want.PresharedKey) {
		s.PresharedKey = &want.PresharedKey
	}
	if move {
		s.Endpoint = want.Endpoint
	}
	if is.Keepalive != want.Keepalive {
		s.Keepalive = &want.Keepalive
	}
	for _, prefix := range sortPrefixes(want.AllowedIPs) {
		if !slices.Contains(is.AllowedIPs, prefix) {
			s.Take = append(s.Take, prefix)
		}
	}
	return s, !known || s.PresharedKey != nil || s.Endpoint.IsValid() || s.Keepalive != nil || len(s.Take) > 0
}

// moved tells whether a peer's endpoint is to be set.
func moved(is PeerStatus, want, last netip.AddrPort, configured bool, now time.Time) bool {
	if !want.IsValid() || is.Endpoint == want {
		return false
	}
	return configured && last != want || !is.Endpoint.IsValid() || now.Sub(is.LastHandshake) > SessionLife
}

// forgotten tells whether a peer is not to be called any more where it was configured
// to be. WireGuard forgets an endpoint only with the peer, which costs one nothing that
// has been silent for as long as a session lives.
func forgotten(is PeerStatus, want Peer, now time.Time) bool {
	return !want.Endpoint.IsValid() && is.Endpoint.IsValid() && now.Sub(is.LastHandshake) >= SessionLife
}

// withdraw takes away what peers that stay shall have no more and no other peer
// takes. WireGuard can only replace all prefixes of a peer, so that for a moment its
// others are gone too. Instead nobody takes them, and goes.
func withdraw(is Status, wanted map[PublicKey]bool, given map[netip.Prefix]bool) []Step {
	var unwanted []netip.Prefix
	for _, p := range is.Peers {
		for _, prefix := range p.AllowedIPs {
			if wanted[p.PublicKey] && !given[prefix] {
				unwanted = append(unwanted, prefix)
			}
		}
	}
	if len(unwanted) == 0 {
		return nil
	}
	return []Step{{PublicKey: nobody, Take: sortPrefixes(unwanted)}, {PublicKey: nobody, Remove: true}}
}

// Lines says what changes, one thing a line, without any secret.
func (c Change) Lines() []string {
	var lines []string
	if c.PrivateKey != nil {
		lines = append(lines, "public key "+c.PrivateKey.Public().String())
	}
	if c.ListenPort != 0 {
		lines = append(lines, fmt.Sprintf("listen port %d", c.ListenPort))
	}
	for _, s := range c.Steps {
		if line := s.line(); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

func (s Step) line() string {
	switch {
	case s.PublicKey == nobody && s.Remove:
		return ""
	case s.PublicKey == nobody:
		return "withdrawn " + join(s.Take)
	case s.Remove:
		return "peer " + s.PublicKey.String() + " removed"
	}
	line := "peer " + s.PublicKey.String()
	if s.Endpoint.IsValid() {
		line += " endpoint " + s.Endpoint.String()
	}
	if s.PresharedKey != nil {
		line += " preshared key"
	}
	if s.Keepalive != nil {
		line += fmt.Sprintf(" keepalive %v", *s.Keepalive)
	}
	if len(s.Take) > 0 {
		line += " allowed " + join(s.Take)
	}
	return line
}

func join(list []netip.Prefix) string {
	var words []string
	for _, p := range list {
		words = append(words, p.String())
	}
	return strings.Join(words, ",")
}
