package ipam

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// ExhaustedError says that nothing is left to give, and who has it all.
type ExhaustedError struct {
	What     string    // "a /64" or "a network id"
	For      string    // the network that asked
	From     string    // the prefixes or the range of ids
	Capacity uint64    // how many there are
	Owners   []string  // networks that own one, by name
	Resting  int       // released, but not long enough ago
	NextFree time.Time // when the first resting one is free; zero when none rests
	Remedy   string    // what to do about it
}

// shownOwners bounds how many names an error message lists.
const shownOwners = 10

// Error gives one line: what was tried, what is used by whom, what to do.
func (e *ExhaustedError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "allocate %s for network %q from %s: all %d are used: %d by networks",
		e.What, e.For, e.From, e.Capacity, len(e.Owners))
	if len(e.Owners) > 0 {
		shown := e.Owners[:min(len(e.Owners), shownOwners)]
		fmt.Fprintf(&b, " (%s", strings.Join(shown, ", "))
		if more := len(e.Owners) - len(shown); more > 0 {
			fmt.Fprintf(&b, " and %d more", more)
		}
		b.WriteString(")")
	}
	if e.Resting > 0 {
		fmt.Fprintf(&b, ", %d released but resting (the next is free at %s)",
			e.Resting, e.NextFree.UTC().Format(time.RFC3339))
	}
	fmt.Fprintf(&b, "; %s", e.Remedy)
	return b.String()
}

func exhaustedPrefixes(s State, blocks Blocks, network string, now time.Time) *ExhaustedError {
	e := &ExhaustedError{
		What: "a /64", For: network, From: joinPrefixes(blocks.prefixes), Capacity: blocks.Capacity(),
		Remedy: "delete a network, or add a prefix: `prefixes` in node.yaml, or zosnet prefix register",
	}
	countLeases(e, s.Prefixes, now, blocks.Assignable)
	return e
}

func exhaustedIDs(s State, network string, now time.Time) *ExhaustedError {
	e := &ExhaustedError{
		What: "a network id", For: network, From: fmt.Sprintf("%d to %d", FirstNetworkID, LastNetworkID),
		Capacity: uint64(LastNetworkID - FirstNetworkID + 1), Remedy: "delete a network",
	}
	countLeases(e, s.IDs, now, func(uint32) bool { return true })
	return e
}

// countLeases fills in who has what among the keys that matter.
func countLeases[K comparable](e *ExhaustedError, leases map[K]Lease, now time.Time, matters func(K) bool) {
	for k, l := range leases {
		switch {
		case !matters(k) || l.free(now):
		case l.Owned():
			e.Owners = append(e.Owners, l.Network)
		default:
			e.Resting++
			if e.NextFree.IsZero() || l.Until.Before(e.NextFree) {
				e.NextFree = l.Until
			}
		}
	}
	slices.Sort(e.Owners)
}

func joinPrefixes(prefixes []netip.Prefix) string {
	if len(prefixes) == 0 {
		return "no prefix at all"
	}
	names := make([]string, len(prefixes))
	for i, p := range prefixes {
		names[i] = p.String()
	}
	return shorten(names)
}
