package maps

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/zosnet/zosnet/pkg/spec"
)

// openPort tells whether an opening is a single port for everybody of a family: such
// stand in a map of their own, which takes as many as there may be.
func openPort(from netip.Prefix, p spec.Ports) bool {
	return from.Bits() == 0 && !p.Any && p.First == p.Last
}

// encodePorts gives the single ports that are open to everybody.
func encodePorts(version uint32, allow []spec.LockdownAllow) []entry[LockdownPortKey, uint32] {
	var entries []entry[LockdownPortKey, uint32]
	for _, each := range allow {
		family := uint32(6)
		if each.From.Addr().Is4() {
			family = 4
		}
		for _, p := range each.Ports {
			if openPort(each.From, p) {
				key := LockdownPortKey{Version: version, Family: family, Proto: uint32(p.Proto), Port: uint32(p.First)}
				entries = append(entries, entry[LockdownPortKey, uint32]{key, 1})
			}
		}
	}
	return entries
}

// encodeLockdown gives the entries of a version: one for each prefix, holding
// what it and every prefix around it allow, since the longest match alone counts, but
// for what encodePorts gives.
func encodeLockdown(version uint32, allow []spec.LockdownAllow) ([]entry[LockdownKey, LockdownAllow], error) {
	var entries []entry[LockdownKey, LockdownAllow]
	seen := map[netip.Prefix]bool{}
	for _, prefix := range lockdownPrefixes(allow) {
		if seen[prefix] {
			continue
		}
		seen[prefix] = true
		ranges := rangesFor(prefix, allow)
		if len(ranges) > LockdownMax {
			return nil, fmt.Errorf("encode lockdown.allow from %s: %d port ranges with those of the prefixes around it, the datapath takes %d; name fewer or wider ranges",
				prefix, len(ranges), LockdownMax)
		}
		key := LockdownKey{Prefixlen: 32 + mappedBits(prefix), Version: networkOrder(version)}
		key.Address.Bytes = prefix.Addr().As16()
		value := LockdownAllow{Count: uint32(len(ranges))}
		copy(value.Ranges[:], ranges)
		entries = append(entries, entry[LockdownKey, LockdownAllow]{key, value})
	}
	return entries, nil
}

// lockdownPrefixes gives the prefixes of openings. One of IPv6 that lies around the
// mapped addresses, such as ::/0, would match IPv4 as well: all of IPv4 then has an
// entry of its own.
func lockdownPrefixes(allow []spec.LockdownAllow) []netip.Prefix {
	var prefixes []netip.Prefix
	for _, each := range allow {
		prefixes = append(prefixes, each.From.Masked())
		if each.From.Addr().Is6() && each.From.Contains(netip.AddrFrom16(netip.IPv4Unspecified().As16())) {
			prefixes = append(prefixes, netip.PrefixFrom(netip.IPv4Unspecified(), 0))
		}
	}
	return prefixes
}

// rangesFor gives what openings allow to all of a prefix, sorted, each once.
func rangesFor(prefix netip.Prefix, allow []spec.LockdownAllow) []LockdownRange {
	var ranges []LockdownRange
	for _, each := range allow {
		from := each.From.Masked()
		if from.Addr().Is4() != prefix.Addr().Is4() || from.Bits() > prefix.Bits() || !from.Contains(prefix.Addr()) {
			continue
		}
		for _, p := range each.Ports {
			if openPort(from, p) {
				continue
			}
			r := LockdownRange{First: p.First, Last: p.Last, Proto: uint32(p.Proto)}
			if p.Any {
				r = LockdownRange{Last: 65535}
			}
			ranges = append(ranges, r)
		}
	}
	slices.SortFunc(ranges, func(a, b LockdownRange) int {
		return cmp.Or(cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last))
	})
	return slices.Compact(ranges)
}

// PutLockdown writes one version of the openings in the lockdown, beside the
// others. SetLockdown or TryLockdown puts it in force. A version that is in force
// must not be written again with other openings.
func (m *Maps) PutLockdown(version uint32, allow []spec.LockdownAllow) error {
	entries, err := encodeLockdown(version, allow)
	if err != nil {
		return err
	}
	want, ports := map[LockdownKey]bool{}, map[LockdownPortKey]bool{}
	for _, e := range entries {
		want[e.Key] = true
	}
	open := encodePorts(version, allow)
	for _, e := range open {
		ports[e.Key] = true
	}
	if err := errors.Join(putAll(m.LockdownAllow, entries), putAll(m.LockdownPorts, open)); err != nil {
		return err
	}
	return errors.Join(
		deleteWhere(m.LockdownAllow, func(key LockdownKey, _ LockdownAllow) bool {
			return key.Version == networkOrder(version) && !want[key]
		}),
		deleteWhere(m.LockdownPorts, func(key LockdownPortKey, _ uint32) bool {
			return key.Version == version && !ports[key]
		}))
}

// DeleteLockdown removes every version but those named, once no packet that saw
// another can still be judged by it.
func (m *Maps) DeleteLockdown(keep ...uint32) error {
	waitForReaders()
	return errors.Join(
		deleteWhere(m.LockdownAllow, func(key LockdownKey, _ LockdownAllow) bool {
			return !slices.Contains(keep, networkOrder(key.Version))
		}),
		deleteWhere(m.LockdownPorts, func(key LockdownPortKey, _ uint32) bool {
			return !slices.Contains(keep, key.Version)
		}))
}
