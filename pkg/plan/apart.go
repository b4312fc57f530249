package plan

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/zosnet/zosnet/pkg/spec"
)

// apart leaves out of the networks' parts what would reach beyond their network: a
// /64 of another node that is something else here, and a next key whose interface would
// have another's name. Whose fault it is, the other networks have no part in it.
func (in Input) apart() (Input, []Ignored) {
	own := make(map[netip.Prefix]string, len(in.Networks))
	for _, r := range in.Networks {
		own[r.Prefix] = r.Document.Name
	}
	claimed, shared := make(map[netip.Prefix]string, len(in.Parts)), map[netip.Prefix]bool{}
	for _, p := range in.Parts {
		switch first := claimed[p.Prefix]; {
		case p.Node == in.Node.Name:
		case first == "":
			claimed[p.Prefix] = p.Network
		case first != p.Network:
			shared[p.Prefix] = true
		}
	}
	fits := in.fitting(shared)
	var ignored []Ignored
	in.Parts = slices.DeleteFunc(slices.Clone(in.Parts), func(p Part) bool {
		if p.Node == in.Node.Name {
			return false
		}
		reason := in.occupied(p.Prefix, own)
		if len(fits[p.Prefix]) > 1 && fits[p.Prefix][p.Network] {
			reason = "another network is said to have it too"
		}
		if reason != "" {
			ignored = append(ignored, Ignored{partObject(p.Network, p.Node), fmt.Sprintf("its prefix %s: %s", p.Prefix, reason)})
		}
		return reason != ""
	})
	in.Remote, ignored = atMost(in.Remote, ignored)
	return in, append(ignored, in.keepNames()...)
}

// mostRemote bounds the addresses that one node has in one network here: all networks
// share the datapath's room, 131,072.
const mostRemote = 4096

// atMost leaves out what a node has in a network beyond mostRemote, by name.
func atMost(remote []Remote, ignored []Ignored) ([]Remote, []Ignored) {
	all := 0
	for _, r := range remote {
		all += len(r.Addresses)
	}
	if all <= mostRemote {
		return remote, ignored
	}
	have := map[place]int{}
	var much []place
	for _, r := range remote {
		at := place{r.Network, r.Node}
		before := have[at]
		if have[at] += len(r.Addresses); before <= mostRemote && have[at] > mostRemote {
			much = append(much, at)
		}
	}
	if len(much) == 0 {
		return remote, ignored
	}
	clear(have)
	remote = slices.SortedFunc(slices.Values(remote), func(a, b Remote) int { return cmp.Compare(a.Name, b.Name) })
	for _, at := range much {
		ignored = append(ignored, Ignored{partObject(at.network, at.node), fmt.Sprintf("its workloads have more than %d addresses: only the first ones, by name, are known here", mostRemote)})
	}
	return slices.DeleteFunc(remote, func(r Remote) bool {
		at := place{r.Network, r.Node}
		have[at] += len(r.Addresses)
		return have[at] > mostRemote
	}), ignored
}

// fitting gives the networks that may have each of some /64s, by what was delegated: a
// claim that counts for nothing takes nothing away.
func (in Input) fitting(shared map[netip.Prefix]bool) map[netip.Prefix]map[string]bool {
	fits := map[netip.Prefix]map[string]bool{}
	if len(shared) == 0 {
		return fits
	}
	documents := make(map[string]*spec.Network, len(in.Networks))
	for _, r := range in.Networks {
		documents[r.Document.Name] = r.Document
	}
	for _, p := range in.Parts {
		node := slices.IndexFunc(in.Nodes, func(n Node) bool { return n.Name == p.Node })
		if !shared[p.Prefix] || node < 0 || documents[p.Network] == nil || in.misfit(documents[p.Network], p, in.Nodes[node], true) != "" {
			continue
		}
		if fits[p.Prefix] == nil {
			fits[p.Prefix] = map[string]bool{}
		}
		fits[p.Prefix][p.Network] = true
	}
	return fits
}

// occupied says what a /64 of another node is here already; empty: nothing.
func (in Input) occupied(p netip.Prefix, own map[netip.Prefix]string) string {
	if network, is := own[p]; is {
		return fmt.Sprintf("network %s has it here", network)
	}
	for _, r := range in.Reserved {
		if r.Overlaps(p) {
			return fmt.Sprintf("%s is not for networks", r)
		}
	}
	if p.Contains(in.Node.Endpoint) {
		return "this node's endpoint is in it"
	}
	for _, server := range in.Node.DNS {
		if p.Contains(server) {
			return fmt.Sprintf("this node's DNS server %s is in it", server)
		}
	}
	return ""
}

// keepNames leaves a change of keys out whose new interface would be called like
// another network's. Names are hashes, and who chooses networks' names can look for
// two that meet once one of them has changed its key.
func (in Input) keepNames() (ignored []Ignored) {
	name := func(p Part, g *Successor) string {
		generation := p.Generation
		if g != nil {
			generation = g.Generation
		}
		return overlayIdentity(p.Node, p.Network, generation).interfaceName(overlayKind, p.Network)
	}
	taken := map[string]string{}
	var changing []*Part
	for i := range in.Parts {
		if p := &in.Parts[i]; p.Node == in.Node.Name {
			taken[name(*p, nil)] = p.Network
			if p.Next != nil {
				changing = append(changing, p)
			}
		}
	}
	slices.SortFunc(changing, func(a, b *Part) int { return cmp.Compare(a.Network, b.Network) })
	for _, p := range changing {
		next := name(*p, p.Next)
		if other, is := taken[next]; is && other != p.Network {
			p.Next = nil
			ignored = append(ignored, Ignored{"network " + p.Network,
				fmt.Sprintf("its next key's interface would be called %s, as that of network %s: its key stays", next, other)})
			continue
		}
		taken[next] = p.Network
	}
	return ignored
}
