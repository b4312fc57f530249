package ipam

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// What a registration's length may be. No registrar gives more than the shortest.
const (
	ShortestRegistration = 16
	LongestRegistration  = NetworkBits
)

// Registration is an allocation as its holder registered it.
type Registration struct {
	Prefix     netip.Prefix
	Holder     string // the node that the Internet routes it to
	Source     string // who it is from: a LIR, an upstream; free text
	Contact    string // who answers for it; free text
	Registered time.Time
}

// unicast is what can be allocated: RFC 4291 section 2.4 leaves only 2000::/3
// assigned, RFC 4193 adds the unique local addresses.
var unicast = []netip.Prefix{netip.MustParsePrefix("2000::/3"), netip.MustParsePrefix("fc00::/7")}

func (r Registration) check() error {
	p := r.Prefix
	inside := func(space netip.Prefix) bool { return space.Contains(p.Addr()) }
	switch {
	case r.Holder == "":
		return fmt.Errorf("register %s: no node is named that holds it", p)
	case !p.IsValid() || p != p.Masked() || p.Bits() < ShortestRegistration || p.Bits() > LongestRegistration,
		!slices.ContainsFunc(unicast, inside):
		return fmt.Errorf("register %s: not an IPv6 prefix of global or unique local addresses, /%d to /%d, with no bits set after its length",
			p, ShortestRegistration, LongestRegistration)
	}
	return nil
}

// OverlapError says that a registration would cover what somebody has already.
type OverlapError struct {
	Prefix netip.Prefix
	With   netip.Prefix // a registration, or a block that its node has still or that rests
	Holder string       // of With
	Until  time.Time    // until when With rests; zero for a registration or a block in use
	Block  bool         // With is a block whose registration is gone
}

func (e *OverlapError) Error() string {
	switch {
	case !e.Block:
		return fmt.Sprintf("register %s: it overlaps %s, which node %s holds; release that one first", e.Prefix, e.With, e.Holder)
	case e.Until.IsZero():
		return fmt.Sprintf("register %s: node %s has not taken the block %s of it back yet", e.Prefix, e.Holder, e.With)
	}
	return fmt.Sprintf("register %s: its block %s was released by node %s and rests until %s; try again then",
		e.Prefix, e.With, e.Holder, e.Until.UTC().Format(time.RFC3339))
}

// DelegatedError says that a registration cannot go, for nodes have blocks of it.
type DelegatedError struct {
	Prefix netip.Prefix
	Blocks map[netip.Prefix]string // block to node
}

func (e *DelegatedError) Error() string {
	list := make([]string, 0, len(e.Blocks))
	for _, block := range sortedPrefixes(e.Blocks) {
		list = append(list, fmt.Sprintf("%s by %s", block, e.Blocks[block]))
	}
	return fmt.Sprintf("release %[1]s: still used: %[2]s; networks there may have /64s of those blocks; to take them back all the same: zosnet prefix release %[1]s --force", e.Prefix, shorten(list))
}

// UnknownError says that a prefix or a block is not there to be released.
type UnknownError struct {
	Prefix netip.Prefix
	Node   string // whose block it would be; empty for a registration
	Has    string // the node that has the block instead; empty: nobody
	Holder string
}

func (e *UnknownError) Error() string {
	switch {
	case e.Node == "":
		return fmt.Sprintf("release %s: node %s holds no such prefix", e.Prefix, e.Holder)
	case e.Has == "":
		return fmt.Sprintf("release the block %s of node %s: node %s has not given it to anybody", e.Prefix, e.Node, e.Holder)
	}
	return fmt.Sprintf("release the block %s of node %s: it is node %s's", e.Prefix, e.Node, e.Has)
}

// shorten joins the first few of a list and counts the rest.
func shorten(list []string) string {
	shown := list[:min(len(list), shownOwners)]
	text := strings.Join(shown, ", ")
	if more := len(list) - len(shown); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
