package gridstore

import (
	"maps"
	"slices"
	"strings"
)

// mostNodes bounds what a document's list of nodes, which nobody signs, can make a
// node hear of.
const mostNodes = 1024

// mostSpans bounds the networks that a node is told to be named by: anybody can say so.
// It is more than a node has numbers for.
const mostSpans = 8192

// mostRefused bounds the keys that are told as problems though they are none at all.
const mostRefused = 8192

// A watched range is written as a key; with a slash at its end it is every key
// under it.
func isPrefix(r string) bool { return strings.HasSuffix(r, "/") }

func rangeHas(r, key string) bool {
	return r == key || isPrefix(r) && strings.HasPrefix(key, r)
}

// group names the keys that one Node or Network of a snapshot is made of.
type group struct {
	network bool
	name    string
}

// ofTrust is what is of no node and no network: whom the grid believes, and which
// registry it has.
var ofTrust = group{false, "/trust"}

// groupOf gives the group of a key. Claims, past documents and what was issued are of
// none: nobody watches them.
func groupOf(k Key) (group, bool) {
	switch k.Kind {
	case KindPart, KindAttachment, KindBinding, KindDocument, KindSpan:
		return group{true, k.Network}, true
	case KindClaim, KindRevision, KindIssued:
		return group{}, false
	case KindRevocations, KindRecovery:
		return ofTrust, true
	}
	return group{false, k.Node}, true
}

// scope is which ranges concern this node, counted by how many reasons there are
// for each.
type scope struct {
	self    string
	carried map[string]bool // networks that this node carries
	reasons map[string]int
	by      map[group][]string
	taken   map[string]bool // what concerned it when take was last called
	touched map[string]bool // since then
}

func newScope(self string, peers []string) *scope {
	s := &scope{self: self, reasons: map[string]int{}, by: map[group][]string{}, taken: map[string]bool{}, touched: map[string]bool{}}
	base := []string{nodeRoot(self), spansOf(self), membersRoot, revocations, recoveryAt}
	for _, peer := range peers {
		if peer != self {
			base = append(base, personOf(peer)...)
			base = append(base, below(peer, KindRegistration, ""), below(peer, KindDelegation, ""))
		}
	}
	s.set(group{}, base)
	return s
}

// personOf are the keys that say who a node is.
func personOf(node string) []string {
	return []string{
		Key{Kind: KindRecord, Node: node}.String(),
		Key{Kind: KindCertificate, Node: node}.String(),
		Key{Kind: KindLive, Node: node}.String(),
	}
}

// set says for which ranges a group is the reason now.
func (s *scope) set(g group, ranges []string) {
	slices.Sort(ranges)
	ranges = slices.Compact(ranges)
	for _, r := range ranges {
		s.reasons[r]++
		s.touched[r] = true
	}
	for _, r := range s.by[g] {
		if s.reasons[r]--; s.reasons[r] == 0 {
			delete(s.reasons, r)
		}
		s.touched[r] = true
	}
	s.by[g] = ranges
	if len(ranges) == 0 {
		delete(s.by, g)
	}
}

// take gives what came and what went since it was last called.
func (s *scope) take() (added, dropped []string) {
	for r := range s.touched {
		switch now := s.reasons[r] > 0; {
		case now && !s.taken[r]:
			s.taken[r] = true
			added = append(added, r)
		case !now && s.taken[r]:
			delete(s.taken, r)
			dropped = append(dropped, r)
		}
	}
	clear(s.touched)
	return added, dropped
}

// all gives every range that concerns this node.
func (s *scope) all() []string { return slices.Sorted(maps.Keys(s.reasons)) }

// covers tells whether a key concerns this node.
func (s *scope) covers(key string) bool {
	if s.reasons[key] > 0 {
		return true
	}
	for i := len(key) - 1; i >= len(root); i-- {
		if key[i] == '/' && s.reasons[key[:i+1]] > 0 {
			return true
		}
	}
	return false
}

// concerns tells whether a network concerns this node: it was told that it is named,
// which nobody signs, or carries it.
func (s *scope) concerns(network string, keys map[Key]*entry) bool {
	return s.carried[network] || keys[Key{Kind: KindSpan, Node: s.self, Network: network}] != nil
}

// ofNetwork gives the ranges that a network is the reason for: its document, its
// other nodes and their parts, and the delegations that the parts refer to.
func (s *scope) ofNetwork(name string, keys map[Key]*entry) []string {
	if !s.concerns(name, keys) {
		return nil
	}
	document := Key{Kind: KindDocument, Network: name}
	ranges := []string{document.String()}
	if e := keys[document]; e != nil {
		nodes := e.value.(*Document).Nodes
		for _, node := range nodes[:min(len(nodes), mostNodes)] {
			if node == s.self || CheckNode(node) != nil {
				continue
			}
			ranges = append(ranges, personOf(node)...)
			ranges = append(ranges, Key{Kind: KindPart, Node: node, Network: name}.String(),
				below(node, KindAttachment, name), below(node, KindBinding, name))
		}
	}
	for k, e := range keys {
		if p, ok := e.value.(*Part); ok && k.Node != s.self && p.Holder != s.self && p.Block.IsValid() && CheckNode(p.Holder) == nil {
			ranges = append(ranges, Key{Kind: KindCertificate, Node: p.Holder}.String(),
				Key{Kind: KindDelegation, Node: p.Holder, Prefix: p.Block}.String(), below(p.Holder, KindRegistration, ""))
		}
	}
	return ranges
}

// ofNode gives the ranges that a node is the reason for: this one for the holders
// that it asks, and for the roster, and who was taken out of it, if it is a member or
// holds an allocation; a
// member for who it is; one of the roster for who it is and what it asks.
func (s *scope) ofNode(name string, keys map[Key]*entry) []string {
	var ranges []string
	if name != s.self {
		for k := range keys {
			switch k.Kind {
			case KindMember:
				ranges = append(ranges, personOf(name)...)
			case KindRoster:
				ranges = append(append(ranges, personOf(name)...), nodeRoot(name)+string(KindRequest)+"/")
			}
		}
		return ranges
	}
	for _, e := range keys {
		switch v := e.value.(type) {
		case *registration, *member:
			ranges = append(ranges, rosterRoot, removedRoot)
		case *request:
			for _, holder := range append([]string{v.Holder}, v.Others...) {
				if holder != s.self && CheckNode(holder) == nil {
					ranges = append(ranges, personOf(holder)...)
					ranges = append(ranges, below(holder, KindRegistration, ""), below(holder, KindDelegation, ""))
				}
			}
		}
	}
	return ranges
}

// groupsIn gives the group that every key of a range is of, or false: they may be
// of any.
func groupsIn(r string) (group, bool) {
	if k, err := ParseKey(r); err == nil {
		return groupOf(k)
	}
	parts := strings.Split(strings.TrimPrefix(r, root), "/")
	if parts[0] != "nodes" || len(parts) < 4 {
		return group{}, false
	}
	switch kind := Kind(parts[2]); {
	case (kind == KindAttachment || kind == KindBinding) && len(parts) == 5:
		return group{true, parts[3]}, true
	case kind == KindRegistration, kind == KindDelegation, kind == KindRequest:
		return group{false, parts[1]}, true
	}
	return group{}, false
}
