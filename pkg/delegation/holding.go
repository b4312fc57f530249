package delegation

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/registry/gridstore"
)

// held is what this node's holding follows from.
type held struct {
	node          string
	registrations []ipam.Registration
	local         registry.Snapshot
	requests      map[string]ipam.Request
	removed       []string // nodes that were taken out of the grid

	// others gives what others hold when the holding is written; where it is only looked
	// whether something is to be written, it is nil.
	others func() ([]ipam.Holding, error)
}

// bring gives the holding as it is to be: what is registered here and nothing else,
// the blocks that this node's networks are in and that it will need, and those that
// others ask for. What cannot be done is in the error, and the rest is done.
func (n held) bring(h ipam.Holding, now time.Time) (ipam.Holding, error) {
	var errs []error
	for _, node := range n.removed {
		h = h.RemoveNode(node, now)
	}
	for _, r := range n.registrations {
		if have, registered := h.Registrations[r.Prefix]; registered && have.Source == r.Source && have.Contact == r.Contact {
			continue
		}
		if r.Registered.IsZero() {
			r.Registered = now
		}
		next, err := n.register(h, r, now)
		errs, h = append(errs, err), next
	}
	wanted := prefixesOf(n.registrations)
	for _, p := range h.Prefixes() {
		if !slices.Contains(wanted, p) {
			next, err := n.unregister(h, p, false, now)
			errs, h = append(errs, err), next
		}
	}
	for _, b := range n.local.Blocks {
		if b.GivenBack && h.Blocks[b.Block] == (ipam.Delegation{Node: n.node}) {
			h, _ = h.Release(b.Block, n.node, now) // it is this node's
		}
	}
	for _, p := range n.outside(h, n.used(now)) {
		next, err := h.Adopt([]netip.Prefix{p}, now)
		errs, h = append(errs, err), next
	}
	h = n.staying(h, func(h ipam.Holding) ipam.Holding { return n.grow(h, now) })
	next, err := n.answer(h, n.requests, now)
	return next, errors.Join(append(errs, err)...)
}

func (n held) register(h ipam.Holding, r ipam.Registration, now time.Time) (ipam.Holding, error) {
	if n.others == nil {
		return h.Register(r, nil, now)
	}
	others, err := n.others()
	if err != nil {
		return h, fmt.Errorf("register %s: %w", r.Prefix, err)
	}
	return h.Register(r, others, now)
}

// answer gives blocks to those that ask, and takes back what they give back.
func (n held) answer(h ipam.Holding, requests map[string]ipam.Request, now time.Time) (next ipam.Holding, err error) {
	next = n.staying(h, func(h ipam.Holding) ipam.Holding {
		h, err = h.Answer(requests, now)
		return h
	})
	return next, err
}

// staying gives what becomes of a holding, when blocks are only given of what stays
// registered.
func (n held) staying(h ipam.Holding, give func(ipam.Holding) ipam.Holding) ipam.Holding {
	every := h.Registrations
	h.Registrations = map[netip.Prefix]ipam.Registration{}
	for _, r := range n.registrations {
		if have, registered := every[r.Prefix]; registered {
			h.Registrations[r.Prefix] = have
		}
	}
	h = give(h)
	h.Registrations = every
	return h
}

// apart takes out of the requests those that give blocks back, and gives who they are
// of: each is answered by itself, since that is only done if it is still so.
func (n *held) apart(h ipam.Holding) (nodes []string) {
	n.requests = maps.Clone(n.requests)
	for _, node := range h.Open(n.requests) {
		if len(n.requests[node].Release) > 0 {
			nodes = append(nodes, node)
			delete(n.requests, node)
		}
	}
	return nodes
}

// unregister gives a prefix up, and before it the blocks of it that this node has
// for nothing.
func (n held) unregister(h ipam.Holding, p netip.Prefix, force bool, now time.Time) (ipam.Holding, error) {
	next := h
	for _, block := range h.Of(n.node) {
		if p.Contains(block.Addr()) && len(networksIn(n.local, block)) == 0 {
			next, _ = next.Release(block, n.node, now) // it is this node's
		}
	}
	return next.Unregister(p, force, now)
}

// outside gives the /64s that are in none of this node's blocks.
func (n held) outside(h ipam.Holding, prefixes []netip.Prefix) []netip.Prefix {
	own := h.Of(n.node)
	return slices.DeleteFunc(prefixes, func(p netip.Prefix) bool {
		return slices.ContainsFunc(own, func(block netip.Prefix) bool { return block.Contains(p.Addr()) })
	})
}

// used gives the /64s that this node's networks have, or had until lately.
func (n held) used(now time.Time) (list []netip.Prefix) {
	for p, l := range n.local.IPAM.Prefixes {
		if l.Owned() || now.Before(l.Until) {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, netip.Prefix.Compare)
	return list
}

// grow gives this node a further block of its own where those that it has are
// nearly used up. That there is none is for whoever then lacks a /64 to say.
func (n held) grow(h ipam.Holding, now time.Time) ipam.Holding {
	own := h.Of(n.node)
	usable := slices.DeleteFunc(slices.Clone(own), func(block netip.Prefix) bool {
		return !slices.ContainsFunc(h.Prefixes(), func(p netip.Prefix) bool { return p.Contains(block.Addr()) })
	})
	all, err := ipam.ParseBlocks(append(ofOthers(n.node, n.local.Blocks), usable...))
	if err != nil || len(h.Registrations) == 0 {
		return h
	}
	more := n.local.IPAM.Wanted(all, now) - len(all.Prefixes())
	if more <= 0 {
		return h
	}
	next, _, err := h.Delegate(n.node, len(own)+more, 0, now)
	if err != nil {
		return h
	}
	return next
}

// networksIn gives the networks that have a /64 of this node in a prefix, sorted.
func networksIn(local registry.Snapshot, p netip.Prefix) (names []string) {
	for assigned, l := range local.IPAM.Prefixes {
		if l.Owned() && p.Contains(assigned.Addr()) {
			names = append(names, l.Network)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// requestsOf gives what the nodes that are in the grid ask for. Nobody gets blocks
// shorter than the usual.
func requestsOf(snap gridstore.Snapshot) map[string]ipam.Request {
	requests := map[string]ipam.Request{}
	for name, n := range snap.Nodes {
		if n.Request != nil && n.Admitted != nil && modest(*n.Request) {
			requests[name] = *n.Request
		}
	}
	return requests
}

func modest(r ipam.Request) bool { return r.Bits == 0 || r.Bits >= ipam.BlockBits }

// removedOf gives the nodes that were taken out of the grid. One that is only not
// there, and be it in the roster of a registry that was put back, keeps its blocks.
func removedOf(snap gridstore.Snapshot) (list []string) {
	for name, n := range snap.Nodes {
		if !n.Removed.IsZero() && n.Admitted == nil {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

func sameHolding(a, b ipam.Holding) bool {
	if len(a.Registrations) != len(b.Registrations) || len(a.Blocks) != len(b.Blocks) {
		return false
	}
	for p, r := range b.Registrations {
		if have, ok := a.Registrations[p]; !ok || have.Source != r.Source || have.Contact != r.Contact {
			return false
		}
	}
	for p, d := range b.Blocks {
		if a.Blocks[p] != d {
			return false
		}
	}
	return true
}
