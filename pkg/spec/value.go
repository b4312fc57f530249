package spec

import (
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"
)

// value is one place in a document: a YAML node and the path that leads to it.
type value struct {
	d    *document
	node *yaml.Node
	path string
}

// field is one key that a mapping may have.
type field struct {
	key    string
	needed string // what is expected where a needed key is missing; empty: it may be
	decode func(value)
}

// entry is one key of a mapping with its value.
type entry struct {
	name string
	key  value
	value
}

func (v value) pos() Pos { return v.d.pos(v.node) }

// bad adds the problem that this value is not what was expected.
func (v value) bad(expected string) { v.wrong(describe(v.node), expected) }

// wrong adds a problem at this value in words of its own.
func (v value) wrong(found, expected string) {
	v.d.add(Problem{Pos: v.pos(), Key: v.path, Found: found, Expected: expected})
}

// null says whether the key stands there with nothing after it.
func (v value) null() bool { return v.node.Kind == yaml.ScalarNode && v.node.Tag == "!!null" }

// fields decodes a mapping of known keys. They are decoded in the order given,
// not in that of the document, so that a later one can refer to an earlier.
func (v value) fields(known ...field) {
	keys := make([]string, len(known))
	for i, f := range known {
		keys[i] = f.key
	}
	if v.node.Kind != yaml.MappingNode {
		v.bad("a mapping of " + strings.Join(keys, ", "))
		return
	}
	present := map[string]value{}
	for _, e := range v.entries() {
		present[e.name] = e.value
	}
	for _, f := range known {
		if found, ok := present[f.key]; ok {
			if v.path == "" {
				v.d.where[f.key] = found.pos()
			}
			f.decode(found)
			delete(present, f.key)
		} else if f.needed != "" {
			v.d.add(Problem{Pos: v.pos(), Key: v.child(f.key), Found: "nothing", Expected: f.needed})
		}
	}
	for _, e := range v.entryKeys() {
		if _, unknown := present[e.node.Value]; unknown {
			delete(present, e.node.Value)
			e.wrong("an unknown key", "one of: "+strings.Join(keys, ", "))
		}
	}
}

// entries gives a mapping's keys and values in document order. A key that is
// not text or stands there twice is a problem, and left out.
func (v value) entries() []entry {
	if v.node.Kind != yaml.MappingNode {
		v.bad("a mapping")
		return nil
	}
	first := map[string]Pos{}
	var list []entry
	for i, key := range v.entryKeys() {
		if key.node.Kind != yaml.ScalarNode || key.node.Tag != "!!str" {
			key.wrong(describe(key.node)+" as a key", "text")
			continue
		}
		name := key.node.Value
		if at, twice := first[name]; twice {
			key.wrong(fmt.Sprintf("a second %s, the first is in line %d", quote(name), at.Line), "each key once")
			continue
		}
		first[name] = key.pos()
		list = append(list, entry{name, key, value{v.d, v.node.Content[2*i+1], key.path}})
	}
	return list
}

// entryKeys gives the keys of a mapping, whatever they are.
func (v value) entryKeys() []value {
	keys := make([]value, len(v.node.Content)/2)
	for i := range keys {
		node := v.node.Content[2*i]
		keys[i] = value{v.d, node, v.child(node.Value)}
	}
	return keys
}

// items gives the elements of a list.
func (v value) items(expected string) []value {
	if v.node.Kind != yaml.SequenceNode {
		v.bad(expected)
		return nil
	}
	list := make([]value, len(v.node.Content))
	for i, node := range v.node.Content {
		list[i] = value{v.d, node, fmt.Sprintf("%s[%d]", v.path, i)}
	}
	return list
}

// oneOrMore gives the elements of a list that must not be empty, or the value
// itself where it is not a list: `from: web` is `from: [web]`. An empty list is
// refused, since it could be taken for "none" and for "all".
func (v value) oneOrMore(expected string) []value {
	if v.node.Kind != yaml.SequenceNode {
		return []value{v}
	}
	if len(v.node.Content) == 0 {
		v.wrong("an empty list", expected)
	}
	return v.items(expected)
}

// text gives the value of a string; anything else is a problem.
func (v value) text(expected string) (string, bool) {
	if v.node.Kind != yaml.ScalarNode || v.node.Tag != "!!str" {
		v.bad(expected)
		return "", false
	}
	return v.node.Value, true
}

// matching gives the value of a string for which accept holds.
func (v value) matching(expected string, accept func(string) bool) (string, bool) {
	s, ok := v.text(expected)
	if ok && !accept(s) {
		v.bad(expected)
		ok = false
	}
	return s, ok
}

// flag gives a boolean: true or false, nothing that YAML 1.1 took for one.
func (v value) flag() bool {
	if v.node.Kind != yaml.ScalarNode || v.node.Tag != "!!bool" {
		v.bad("true or false")
		return false
	}
	return strings.EqualFold(v.node.Value, "true")
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// child gives the path of a key under this value.
func (v value) child(key string) string {
	if !plainKey.MatchString(key) {
		key = quote(key)
	}
	if v.path == "" {
		return key
	}
	return v.path + "." + key
}

// describe says what a node is, for the "found" of a problem.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	kinds := map[string]string{"!!bool": "a boolean", "!!int": "a number", "!!float": "a number", "!!timestamp": "a date"}
	switch n.Tag {
	case "!!null":
		return "nothing"
	case "!!str":
		return quote(n.Value)
	}
	return fmt.Sprintf("%s (%s)", cut(n.Value), kinds[n.Tag])
}

// quote puts text in quotes, control characters escaped and the end cut off
// where it is long.
func quote(s string) string { return fmt.Sprintf("%q", cut(s)) }

func cut(s string) string {
	const most = 80
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return s
}
