package wireguard

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// owned is a prefix and the peer that has it.
type owned struct {
	prefix netip.Prefix
	peer   PublicKey
}

// CheckAllowedIPs refuses prefixes that two peers would share: WireGuard gives them
// to the last one without a word, and what the other sends is dropped. A default
// route is the one prefix that may hold those of others.
func CheckAllowedIPs(peers []Peer) error {
	var all []owned
	var errs []error
	defaults := map[netip.Prefix]PublicKey{}
	for _, p := range peers {
		for _, prefix := range p.AllowedIPs {
			switch other, is := defaults[prefix]; {
			case !prefix.IsValid() || prefix != prefix.Masked() || prefix.Addr().Is4In6():
				errs = append(errs, fmt.Errorf("peer %v: %v is no prefix", p.PublicKey, prefix))
			case prefix.Bits() > 0:
				all = append(all, owned{prefix, p.PublicKey})
			case is && other != p.PublicKey:
				errs = append(errs, &OverlapError{prefix, other, prefix, p.PublicKey})
			default:
				defaults[prefix] = p.PublicKey
			}
		}
	}
	return errors.Join(append(errs, overlaps(all)...)...)
}

// overlaps walks the prefixes in order; those around the present one are a stack.
func overlaps(all []owned) (errs []error) {
	slices.SortStableFunc(all, func(a, b owned) int { return comparePrefixes(a.prefix, b.prefix) })
	var around []owned
	for _, o := range all {
		for len(around) > 0 && !around[len(around)-1].prefix.Overlaps(o.prefix) {
			around = around[:len(around)-1]
		}
		if n := len(around); n > 0 && around[n-1].peer != o.peer {
			outer := around[n-1]
			errs = append(errs, &OverlapError{outer.prefix, outer.peer, o.prefix, o.peer})
		}
		around = append(around, o)
	}
	return errs
}

// OverlapError says which peers would share addresses.
type OverlapError struct {
	Prefix    netip.Prefix
	Peer      PublicKey
	Other     netip.Prefix // within Prefix
	OtherPeer PublicKey
}

func (e *OverlapError) Error() string {
	return fmt.Sprintf("%v of peer %v overlaps %v of peer %v: an address has one peer", e.Prefix, e.Peer, e.Other, e.OtherPeer)
}
