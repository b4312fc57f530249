package spec

import (
	"fmt"
	"slices"
)

// ineffective warns of rules that decide nothing, wherever they are applied.
func (n *Network) ineffective() []Warning {
	var list []Warning
	decisive := -1
	for i, rule := range n.Rules {
		key := fmt.Sprintf("rules[%d]", i)
		if decisive >= 0 {
			list = append(list, Warning{rule.Pos, key, fmt.Sprintf(
				"never reached, nor is anything after it: rules[%d] decides everything", decisive)})
			break
		}
		if rule.everything() {
			decisive = i
		}
		if all(rule.From, Selector.elsewhere) && all(rule.To, Selector.elsewhere) {
			list = append(list, Warning{rule.Pos, key, "never matches: neither side can be in this network"})
		}
		for _, p := range rule.Ports {
			if p.Proto == ProtoICMPv6 && p.First == p.Last && ruleFree(p.First) {
				list = append(list, Warning{p.Pos, key, p.String() +
					" has no effect: ICMPv6 errors, MLD and neighbour discovery are not subject to rules"})
			}
		}
	}
	return list
}

// everything says whether a rule matches every flow.
func (r Rule) everything() bool {
	isAny := func(s Selector) bool { return s.Kind == SelectAny }
	anyPorts := len(r.Ports) == 0 || slices.ContainsFunc(r.Ports, func(p Ports) bool { return p.Any })
	return anyPorts && slices.ContainsFunc(r.From, isAny) && slices.ContainsFunc(r.To, isAny)
}

// elsewhere says whether a selector matches only what is outside this network.
func (s Selector) elsewhere() bool { return s.Kind == SelectOutside || s.Kind == SelectPeerService }

func all(list []Selector, is func(Selector) bool) bool {
	return !slices.ContainsFunc(list, func(s Selector) bool { return !is(s) })
}

// Warnings says which parts of a network the node of that name does not carry:
// the other nodes' and what only an IPv4 proxy does.
func (n *Network) Warnings(localNode string) []Warning {
	var list []Warning
	for i, node := range n.Nodes {
		if node == localNode {
			continue
		}
		key := fmt.Sprintf("nodes[%d]", i)
		list = append(list, Warning{n.Where[key], key, fmt.Sprintf(
			"%s is another node than %s, and carries its part only in a grid", node, localNode)})
	}
	if n.Exit != "" && n.Exit != localNode {
		list = append(list, Warning{n.Where["exit"], "exit", fmt.Sprintf("%s is another node than %s, and reached only in a grid", n.Exit, localNode)})
	}
	if !n.CarriedBy(localNode) {
		list = append(list, Warning{n.Where["nodes"], "nodes", fmt.Sprintf(
			"%s is not among them; nothing of this network is carried here", localNode)})
	}
	if s, count := n.firstIPv4(); count > 0 {
		list = append(list, Warning{s.Pos, "rules", fmt.Sprintf("%s is an IPv4 CIDR, the first of %d; "+
			"they match only at an IPv4 proxy, which is not yet carried by this version", s, count)})
	}
	return list
}

// firstIPv4 gives the first IPv4 CIDR of the rules, and how many there are.
func (n *Network) firstIPv4() (first Selector, count int) {
	for _, rule := range n.Rules {
		for _, side := range [][]Selector{rule.From, rule.To} {
			for _, s := range side {
				if s.Kind != SelectCIDR || !s.CIDR.Addr().Is4() {
					continue
				}
				if count == 0 {
					first = s
				}
				count++
			}
		}
	}
	return first, count
}
