package spec

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Difference is what one document says and another of the same network does not.
type Difference struct {
	Part string // such as "node n2", "service web", "rule" or "default.inside"
	From string // empty: it is new
	To   string // empty: it is gone
}

// Differences compares two documents of one network by what they say, wherever it
// stands, and in which order where that matters: that of rules. From a nil document
// everything is new, to a nil one everything is gone.
func Differences(from, to *Network) []Difference {
	var list []Difference
	old, now := from.parts(), to.parts()
	for _, p := range old {
		switch i := slices.IndexFunc(now, func(q part) bool { return q.key() == p.key() }); {
		case i < 0:
			list = append(list, Difference{Part: p.name, From: p.text})
		case now[i].text != p.text:
			list = append(list, Difference{Part: p.name, From: p.text, To: now[i].text})
		}
	}
	for _, p := range now {
		if !slices.ContainsFunc(old, func(q part) bool { return q.key() == p.key() }) {
			list = append(list, Difference{Part: p.name, To: p.text})
		}
	}
	if order := ordered(old, now); !slices.Equal(order, ordered(now, old)) {
		list = append(list, Difference{Part: "rules", From: "in another order", To: "in another order"})
	}
	return list
}

// part is a piece of a document. A rule, and an opening, is what it says; all else has
// a name.
type part struct {
	name, text string
	number     int // of the same text: the second rule of a kind is another one
}

func (p part) key() string {
	if p.name == partRule || p.name == partExpose {
		return fmt.Sprintf("%s %s %d", p.name, p.text, p.number)
	}
	return p.name
}

const (
	partRule   = "rule"
	partExpose = "expose"
)

func (n *Network) parts() (list []part) {
	if n == nil {
		return nil
	}
	add := func(name, text string) {
		p := part{name: name, text: text}
		for _, other := range list {
			if other.name == name && other.text == text {
				p.number++
			}
		}
		list = append(list, p)
	}
	for _, node := range n.Nodes {
		add("node "+node, "named")
	}
	if n.Exit != "" {
		add("exit", n.Exit)
	}
	add("default.inside", string(n.Default.Inside))
	add("default.inbound", string(n.Default.Inbound))
	add("default.outbound", string(n.Default.Outbound))
	for _, s := range n.Services {
		add("service "+s.Name, cmp.Or(portsText(s.Ports), "no ports"))
	}
	for _, a := range n.Access {
		add("access "+a.Name, a.line())
	}
	for _, r := range n.Rules {
		add(partRule, r.String())
	}
	for _, e := range n.Expose {
		add(partExpose, e.line())
	}
	return list
}

// ordered gives the rules of one document that the other has too.
func ordered(parts, other []part) (keys []string) {
	for _, p := range parts {
		if p.name == partRule && slices.ContainsFunc(other, func(q part) bool { return q.key() == p.key() }) {
			keys = append(keys, p.key())
		}
	}
	return keys
}

func (a Access) line() string {
	allow := make([]string, len(a.Allow))
	for i, s := range a.Allow {
		allow[i] = s.String()
	}
	text := "key " + a.PublicKey + ", to " + cmp.Or(strings.Join(allow, ", "), "nothing")
	if len(a.Ports) > 0 {
		text += " " + portsText(a.Ports)
	}
	if a.At != "" {
		text += ", at " + a.At
	}
	return text
}

func (e Expose) line() string {
	text := e.Service + " " + cmp.Or(portsText(e.Ports), "its own ports")
	if e.IPv4 != "" {
		text += ", ipv4 " + e.IPv4
	}
	if len(e.SNI) > 0 {
		text += ", sni " + strings.Join(e.SNI, " ")
	}
	return text
}

func portsText(ports []Ports) string {
	texts := make([]string, len(ports))
	for i, p := range ports {
		texts[i] = p.String()
	}
	return strings.Join(texts, " ")
}
