package spec

import (
	"net/netip"
	"slices"
	"strings"
)

const (
	expectCIDR    = "a CIDR such as 203.0.113.0/24 or 2001:db8::/32"
	expectAddress = "an IPv4 or IPv6 address of one machine, without a zone"
	expectIPv4    = "an IPv4 address of one machine"
	expectIPv6    = "an IPv6 address of one machine, without a zone"
	expectPrefix  = "an IPv6 prefix of global or unique local addresses, /16 to /64"
)

// What can be allocated to a node: RFC 4291 section 2.4 leaves only 2000::/3
// assigned, RFC 4193 adds the unique local addresses.
var allocatable = []netip.Prefix{
	netip.MustParsePrefix("2000::/3"),
	netip.MustParsePrefix("fc00::/7"),
}

// cidr decodes an IPv4 or IPv6 CIDR with no bits set after its length.
func (v value) cidr(expected string) (netip.Prefix, bool) {
	text, ok := v.text(expected)
	if !ok {
		return netip.Prefix{}, false
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
			expected = "a CIDR; for this one address " + netip.PrefixFrom(addr, addr.BitLen()).String()
		}
		v.bad(expected)
		return netip.Prefix{}, false
	}
	if prefix.Addr().Is4In6() {
		v.bad("an IPv4 CIDR written as IPv4")
		return netip.Prefix{}, false
	}
	if masked := prefix.Masked(); masked != prefix {
		v.bad(masked.String() + ", with no bits set after the length")
		return netip.Prefix{}, false
	}
	return prefix, true
}

// address decodes the address of one machine.
func (v value) address(expected string) (netip.Addr, bool) {
	text, ok := v.text(expected)
	if !ok {
		return netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" || addr.Is4In6() || !addr.IsGlobalUnicast() {
		v.bad(expected)
		return netip.Addr{}, false
	}
	return addr, true
}

// address4 decodes the IPv4 address of one machine.
func (v value) address4() (netip.Addr, bool) {
	addr, ok := v.address(expectIPv4)
	if ok && !addr.Is4() {
		v.bad(expectIPv4)
		ok = false
	}
	return addr, ok
}

// prefixes decodes the allocations of a node; no two of them overlap.
func (v value) prefixes() []netip.Prefix {
	type placed struct {
		netip.Prefix
		at value
	}
	var list []placed
	for _, item := range v.items("a list of IPv6 prefixes") {
		if prefix, ok := item.allocation(); ok {
			list = append(list, placed{prefix, item})
		}
	}
	prefixes := make([]netip.Prefix, len(list))
	for i, p := range list {
		prefixes[i] = p.Prefix
	}
	// In this order a prefix comes right after the widest that contains it, or
	// after others inside that one.
	slices.SortStableFunc(list, func(a, b placed) int { return a.Compare(b.Prefix) })
	for i, widest := 1, 0; i < len(list); i++ {
		if list[widest].Overlaps(list[i].Prefix) {
			list[i].at.bad("prefixes that do not overlap, but it is inside " + list[widest].at.path)
		} else {
			widest = i
		}
	}
	return prefixes
}

// allocation decodes a prefix that a node can hold.
func (v value) allocation() (netip.Prefix, bool) {
	if _, ok := v.matching(expectPrefix, func(s string) bool { return strings.Contains(s, "/") }); !ok {
		return netip.Prefix{}, false
	}
	prefix, ok := v.cidr(expectPrefix)
	if !ok {
		return prefix, false
	}
	inside := func(space netip.Prefix) bool { return space.Contains(prefix.Addr()) }
	if prefix.Bits() < 16 || prefix.Bits() > 64 || !slices.ContainsFunc(allocatable, inside) {
		v.bad(expectPrefix)
		return prefix, false
	}
	return prefix, true
}
