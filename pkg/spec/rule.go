package spec

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

const expectSelector = "a service, access name, inside, outside, any, CIDR or NETWORK/SERVICE"

// String gives the rule on one line, as a document writes it, with nothing
// left to defaults but ports.
func (r Rule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: {from: %s, to: %s", r.Action, oneOrList(r.From), oneOrList(r.To))
	if len(r.Ports) > 0 {
		texts := make([]string, len(r.Ports))
		for i, p := range r.Ports {
			texts[i] = p.String()
		}
		fmt.Fprintf(&b, ", ports: [%s]", strings.Join(texts, ", "))
	}
	if r.Log {
		b.WriteString(", log: true")
	}
	return b.String() + "}"
}

func oneOrList(selectors []Selector) string {
	texts := make([]string, len(selectors))
	for i, s := range selectors {
		texts[i] = oneWord(s.String())
	}
	if len(texts) == 1 {
		return texts[0]
	}
	return "[" + strings.Join(texts, ", ") + "]"
}

// oneWord quotes what is a name, but not to YAML.
func oneWord(text string) string {
	switch text {
	case "null", "true", "false":
		return strconv.Quote(text)
	}
	return text
}

func (n *networkDecoder) decodeRules(v value) {
	for _, item := range v.items("a list of rules") {
		n.decodeRule(item)
	}
}

// decodeRule decodes one line of rules: a mapping of allow or deny.
func (n *networkDecoder) decodeRule(v value) {
	const expected = "one key, allow or deny"
	if v.node.Kind != yaml.MappingNode {
		v.bad("a mapping with " + expected)
		return
	}
	entries := v.entries()
	if len(entries) != 1 {
		v.wrong(fmt.Sprintf("%d keys", len(v.node.Content)/2), expected)
		return
	}
	body := entries[0]
	rule := Rule{Action: Action(body.name), Pos: v.pos()}
	if rule.Action != Allow && rule.Action != Deny {
		body.key.wrong("an unknown key", expected)
		return
	}
	body.fields(
		field{"from", "", func(v value) { rule.From = n.selectors(v) }},
		field{"to", "", func(v value) { rule.To = n.selectors(v) }},
		field{"ports", "", func(v value) { rule.Ports = v.ports() }},
		field{"log", "", func(v value) { rule.Log = v.flag() }},
	)
	anything := []Selector{{Kind: SelectAny, Pos: rule.Pos}}
	if len(rule.From) == 0 {
		rule.From = anything
	}
	if len(rule.To) == 0 {
		rule.To = anything
	}
	n.Rules = append(n.Rules, rule)
}

func (n *networkDecoder) selectors(v value) []Selector {
	var list []Selector
	for _, item := range v.oneOrMore("one or more of " + expectSelector + "; leave the key out for any") {
		if s, ok := n.selector(item); ok {
			list = append(list, s)
		}
	}
	return list
}

func (n *networkDecoder) selector(v value) (Selector, bool) {
	text, ok := v.text(expectSelector)
	if !ok {
		return Selector{}, false
	}
	if kind, ok := n.subjects[text]; ok {
		s := Selector{Kind: kind, Pos: v.pos()}
		if kind == SelectService || kind == SelectAccess {
			s.Name = text
		}
		return s, true
	}
	if network, service, ok := strings.Cut(text, "/"); ok && ValidName(network) && ValidName(service) {
		if network == n.Name {
			v.bad(service + ", since a network names its own services without itself")
			return Selector{}, false
		}
		return Selector{Kind: SelectPeerService, Network: network, Name: service, Pos: v.pos()}, true
	}
	if !strings.ContainsAny(text, "/.:") {
		v.bad(expectSelector)
		return Selector{}, false
	}
	n.cidrs++
	prefix, ok := v.cidr(expectSelector)
	return Selector{Kind: SelectCIDR, CIDR: prefix, Pos: v.pos()}, ok
}
