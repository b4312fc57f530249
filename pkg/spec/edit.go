package spec

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v4"
)

// WithAccess gives a NETWORK.yaml with one more access device. All else of the text
// stays to the byte, comments too. The error is of type Errors where the text or the
// device is wrong; another one says that the text has a form in which only its writer
// can find the place.
func WithAccess(file string, text []byte, a Access) ([]byte, error) {
	old, _, err := DecodeNetwork(file, text)
	if err != nil {
		return nil, err
	}
	if _, exists := old.Device(a.Name); exists {
		return nil, fmt.Errorf("%s: there is an access device %s already; revoke it first, or choose another name", file, a.Name)
	}
	line := a.Name + ": " + a.text()
	list, key, err := accessOf(text)
	if err != nil {
		return nil, err
	}
	t := lines(text)
	switch {
	case key == nil:
		t.end("access:", "  "+line)
	case list.Style&yaml.FlowStyle != 0:
		more := ", "
		if len(list.Content) == 0 {
			more = ""
		}
		t.insert(list.Line, list.Column, line+more)
	default:
		t.after(key.Line, indent(list.Content[0].Column-1)+line)
	}
	return t.accept(file, text, func(access map[string]any) { access[a.Name] = a.value() }, line)
}

// WithoutAccess gives a NETWORK.yaml without an access device, as WithAccess adds
// one. A rule that still names it is in the way, and is named in the error.
func WithoutAccess(file string, text []byte, name string) ([]byte, error) {
	old, _, err := DecodeNetwork(file, text)
	if err != nil {
		return nil, err
	}
	if _, exists := old.Device(name); !exists {
		return nil, fmt.Errorf("%s: network %s has no access device %s", file, old.Name, name)
	}
	list, key, err := accessOf(text)
	if err != nil {
		return nil, err
	}
	remove := func(access map[string]any) { delete(access, name) }
	i := 0
	for ; list.Content[2*i].Value != name; i++ {
	}
	t := lines(text)
	if list.Style&yaml.FlowStyle != 0 {
		t.cut(list.Content[2*i].Line, list.Content[2*i].Column)
		return t.accept(file, text, remove, name)
	}
	first, last := list.Content[2*i].Line, lastLine(list.Content[2*i+1])
	after := len(t)
	if 2*i+2 < len(list.Content) {
		after = list.Content[2*i+2].Line - 1
	}
	// What ends the entry may stand below its last value.
	var failed error
	for ; last <= after; last++ {
		t := lines(text)
		t.drop(first, last)
		if len(list.Content) == 2 {
			t.drop(key.Line, key.Line)
		}
		var edited []byte
		var wrong Errors
		if edited, failed = t.accept(file, text, remove, name); failed == nil || errors.As(failed, &wrong) {
			return edited, failed
		}
	}
	return nil, failed
}

// accessOf finds the access list of a text that decodes, and its key; nil where there
// is none.
func accessOf(text []byte) (list, key *yaml.Node, err error) {
	var root yaml.Node
	if err := yaml.Load(text, &root); err != nil {
		return nil, nil, err
	}
	top := root.Content[0]
	if top.Style&yaml.FlowStyle != 0 {
		return nil, nil, errors.New("the document is written in braces, as one value: change its access by hand")
	}
	for i := 0; i < len(top.Content); i += 2 {
		if top.Content[i].Value == "access" {
			return top.Content[i+1], top.Content[i], nil
		}
	}
	return nil, nil, nil
}

// text gives the device as WithAccess writes it.
func (a Access) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "{publicKey: %q", a.PublicKey)
	if len(a.Allow) > 0 {
		fmt.Fprintf(&b, ", allow: [%s]", strings.Join(yamlTexts(a.Allow), ", "))
	}
	if len(a.Ports) > 0 {
		fmt.Fprintf(&b, ", ports: [%s]", strings.Join(yamlTexts(a.Ports), ", "))
	}
	if a.At != "" {
		fmt.Fprintf(&b, ", at: %s", a.At)
	}
	return b.String() + "}"
}

// value gives what text is read as.
func (a Access) value() any {
	v := map[string]any{"publicKey": a.PublicKey}
	if len(a.Allow) > 0 {
		v["allow"] = anyTexts(a.Allow)
	}
	if len(a.Ports) > 0 {
		v["ports"] = anyTexts(a.Ports)
	}
	if a.At != "" {
		v["at"] = a.At
	}
	return v
}

func yamlTexts[T fmt.Stringer](list []T) []string {
	texts := make([]string, len(list))
	for i, item := range list {
		texts[i] = oneWord(item.String())
	}
	return texts
}

func anyTexts[T fmt.Stringer](list []T) []any {
	texts := make([]any, len(list))
	for i, item := range list {
		texts[i] = item.String()
	}
	return texts
}

// lastLine gives the last line on which a value or a part of it begins.
func lastLine(n *yaml.Node) int {
	last := n.Line
	for _, child := range n.Content {
		last = max(last, lastLine(child))
	}
	return last
}

// accept gives the changed text when it says what the old one says but for the change
// to access, and is a valid document.
func (t *textLines) accept(file string, old []byte, change func(access map[string]any), what string) ([]byte, error) {
	text := []byte(strings.Join(*t, ""))
	byHand := fmt.Errorf("%s: the place in `access` for %q is not found in the way that the document is written; change it by hand, then apply it", file, what)
	var want, got map[string]any
	if err := errors.Join(yaml.Load(old, &want), yaml.Load(text, &got)); err != nil {
		return nil, byHand
	}
	plain := func(doc map[string]any) map[string]any {
		access, _ := doc["access"].(map[string]any)
		if access == nil {
			access = map[string]any{}
		}
		doc["access"] = access
		return access
	}
	change(plain(want))
	plain(got)
	if !reflect.DeepEqual(want, got) {
		return nil, byHand
	}
	if _, _, err := DecodeNetwork(file, text); err != nil {
		return nil, err
	}
	return text, nil
}
