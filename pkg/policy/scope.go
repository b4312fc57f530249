package policy

import "net/netip"

// isMulticast says whether a is in ff00::/8 (RFC 4291, 2.7). netip would also say
// so of an IPv4 multicast address that is mapped into IPv6.
func isMulticast(a netip.Addr) bool {
	return a.As16()[0] == 0xff
}

// isLinkLocal says whether a is in fe80::/10 (RFC 4291, 2.5.6); as above.
func isLinkLocal(a netip.Addr) bool {
	b := a.As16()
	return b[0] == 0xfe && b[1]&0xc0 == 0x80
}

// isUnroutable says whether a is in ::/32, which is on no wire: unspecified,
// loopback, IPv4-mapped and -compatible. 64:ff9b::/96 (RFC 6052) is.
func isUnroutable(a netip.Addr) bool {
	b := a.As16()
	return b[0]|b[1]|b[2]|b[3] == 0
}
