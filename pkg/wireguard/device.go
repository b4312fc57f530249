package wireguard

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Device is what a WireGuard interface of this node should be.
type Device struct {
	Name       string // of the interface, at most 15 bytes, unique on the machine
	Alias      string // what the interface says of itself: whose it is
	PrivateKey PrivateKey
	ListenPort uint16
	MTU        int // of what goes in, in bytes
	Peers      []Peer
}

// Peer is another node of the network, or a person's device, as seen from here.
type Peer struct {
	PublicKey    PublicKey
	PresharedKey PresharedKey   // zero: none
	Endpoint     netip.AddrPort // where it is reached; invalid: it dials
	AllowedIPs   []netip.Prefix // what it may send from, and what goes to it
	Keepalive    time.Duration  // in whole seconds; 0: none
	Gone         bool           // where it was heard last is not where it is: it has no endpoint until it calls
}

// longestName is IFNAMSIZ less its NUL.
const longestName = 15

// Check refuses a device that cannot be, before anything is changed.
func (d Device) Check() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if d.Name == "" || len(d.Name) > longestName {
		fail("its name has %d bytes, and an interface's 1 to %d", len(d.Name), longestName)
	}
	if d.PrivateKey.IsZero() {
		fail("it has no private key")
	}
	if d.ListenPort == 0 {
		fail("it has no listen port")
	}
	if d.MTU < minMTU {
		fail("its MTU is %d, and IPv6 wants %d (RFC 8200, section 5)", d.MTU, minMTU)
	}
	own, known := d.PrivateKey.Public(), map[PublicKey]bool{}
	for _, p := range d.Peers {
		switch {
		case p.PublicKey.IsZero():
			fail("a peer has no public key")
		case p.PublicKey == own:
			fail("peer %v is the device itself", p.PublicKey)
		case p.PublicKey == nobody:
			fail("peer %v has a key that is nobody's", p.PublicKey)
		case known[p.PublicKey]:
			fail("peer %v is there twice", p.PublicKey)
		}
		known[p.PublicKey] = true
		if p.Endpoint.Addr().Zone() != "" { // wireguard-go is configured by lines of text, and a zone may be any
			fail("peer %v: the address of its endpoint has a zone", p.PublicKey)
		}
		if p.Keepalive%time.Second != 0 || p.Keepalive < 0 || p.Keepalive > 65535*time.Second {
			fail("peer %v: keepalive %v is no whole number of seconds up to 65535", p.PublicKey, p.Keepalive)
		}
	}
	errs = append(errs, CheckAllowedIPs(d.Peers))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("WireGuard device %s: %w", d.Name, err)
	}
	return nil
}

// Status is what a device is.
type Status struct {
	Name       string
	PublicKey  PublicKey // zero: it has no private key yet
	ListenPort uint16
	Peers      []PeerStatus // by public key
}

// PeerStatus is what a device has and knows of a peer. Its Endpoint is where the
// peer was last heard from, else where it was said to be.
type PeerStatus struct {
	Peer
	LastHandshake  time.Time // zero: none yet
	Sent, Received uint64    // bytes, with WireGuard's own
}

// SessionLife is how long after its handshake a session may be used
// (Reject-After-Time: WireGuard whitepaper, 6.1).
const SessionLife = 180 * time.Second

// Established tells whether a session with the peer may be used.
func (p PeerStatus) Established(now time.Time) bool {
	return !p.LastHandshake.IsZero() && now.Sub(p.LastHandshake) < SessionLife
}

// Peer gives what is known of a peer.
func (s Status) Peer(key PublicKey) (PeerStatus, bool) {
	for _, p := range s.Peers {
		if p.PublicKey == key {
			return p, true
		}
	}
	return PeerStatus{}, false
}

func sortPrefixes(list []netip.Prefix) []netip.Prefix {
	list = slices.Clone(list)
	slices.SortFunc(list, comparePrefixes)
	return slices.Compact(list)
}

func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}
