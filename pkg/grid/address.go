package grid

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/zosnet/zosnet/pkg/trust"
)

// addressAttempts bounds the addresses that are tried for a name. That a second is
// needed is as likely as two of 2^63 drawn numbers being the same.
const addressAttempts = 8

// GuestBit is set in the first byte of the interface identifiers of who is about to join,
// that is byte GuestByte of their addresses, and in no node's: so the two never meet.
const (
	GuestBit  = 0x80
	GuestByte = 8
)

// NewControlPrefix draws the /64 of a grid's control network: fd00::/8 and 56
// random bits (RFC 4193, section 3.2; one subnet, so its number is drawn as well).
func NewControlPrefix() (netip.Prefix, error) {
	var b [16]byte
	if _, err := rand.Read(b[1:8]); err != nil {
		return netip.Prefix{}, fmt.Errorf("draw the control network's prefix: %w", err)
	}
	b[0] = 0xfd
	return netip.PrefixFrom(netip.AddrFrom16(b), 64), nil
}

// CheckControlPrefix says whether a prefix can be that of a control network.
func CheckControlPrefix(p netip.Prefix) error {
	if !p.IsValid() || p.Bits() != 64 || p.Masked() != p || p.Addr().As16()[0] != 0xfd {
		return fmt.Errorf("control network %v: want a /64 out of fd00::/8", p)
	}
	return nil
}

// Address gives a node's address in the control network. It follows from the name
// alone, unless that one is taken.
func Address(control netip.Prefix, node string, taken func(netip.Addr) bool) (netip.Addr, error) {
	for attempt := range addressAttempts {
		addr := derived(control, "node", node, strconv.Itoa(attempt))
		if addr != control.Addr() && !taken(addr) {
			return addr, nil
		}
	}
	return netip.Addr{}, errors.New("no control address for node " + node + " is free: choose another name")
}

// GuestAddress gives the address of who is about to join, by the token's WireGuard
// key.
func GuestAddress(control netip.Prefix, peer trust.ControlKey) netip.Addr {
	b := derived(control, "guest", string(peer[:])).As16()
	b[GuestByte] |= GuestBit
	return netip.AddrFrom16(b)
}

// isGuest says whether an address is of somebody who is about to join.
func isGuest(addr netip.Addr) bool { return addr.As16()[GuestByte]&GuestBit != 0 }

// derived makes an interface identifier of 63 bits from a hash.
func derived(control netip.Prefix, parts ...string) netip.Addr {
	h := sha256.New()
	h.Write([]byte("zosnet control address 1"))
	for _, part := range parts {
		h.Write([]byte(strconv.Itoa(len(part)) + ":" + part))
	}
	b := control.Addr().As16()
	copy(b[8:], h.Sum(nil))
	b[GuestByte] &^= GuestBit
	return netip.AddrFrom16(b)
}
