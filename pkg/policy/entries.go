package policy

import (
	"fmt"
	"strings"

	"github.com/zosnet/zosnet/pkg/spec"
)

// EntriesOf gives what decides in a network, by position: rules, access, expose,
// defaults.
func EntriesOf(doc *spec.Network) []Entry {
	entries := make([]Entry, 0, len(doc.Rules)+len(doc.Access)+len(doc.Expose)+len(defaultSides))
	for i, r := range doc.Rules {
		entries = append(entries, Entry{
			Kind: EntryRule, Index: i, Allow: r.Action == spec.Allow, Log: r.Log, Pos: r.Pos, Text: ruleText(r),
		})
	}
	for i, a := range doc.Access {
		entries = append(entries, Entry{
			Kind: EntryAccess, Index: i, Allow: true, Pos: a.Pos,
			Text: "allow from " + a.Name + " to " + selectorsText(a.Allow) + portsText(a.Ports),
		})
	}
	for i, e := range doc.Expose {
		entries = append(entries, Entry{
			Kind: EntryExpose, Index: i, Allow: true, Pos: e.Pos, Text: exposeText(doc, e),
		})
	}
	for i, side := range defaultSides {
		entries = append(entries, defaultEntry(doc, i, side))
	}
	return entries
}

func defaultEntry(doc *spec.Network, index int, side Side) Entry {
	action := defaultAction(doc, side)
	pos := doc.Default.Pos
	if pos.Line == 0 {
		pos = doc.Pos
	}
	return Entry{
		Kind: EntryDefault, Index: index, Side: side, Allow: action == spec.Allow, Pos: pos, Text: string(action),
	}
}

func defaultAction(doc *spec.Network, side Side) spec.Action {
	switch side {
	case Inside:
		return doc.Default.Inside
	case Inbound:
		return doc.Default.Inbound
	}
	return doc.Default.Outbound
}

func ruleText(r spec.Rule) string {
	text := fmt.Sprintf("%s from %s to %s%s", r.Action, selectorsText(r.From), selectorsText(r.To), portsText(r.Ports))
	if r.Log {
		text += " log"
	}
	return text
}

func exposeText(doc *spec.Network, e spec.Expose) string {
	ports := e.Ports
	if len(ports) == 0 {
		service, _ := doc.Service(e.Service)
		ports = service.Ports
	}
	if e.IPv4 != "" {
		return "allow from IPv4 by the proxy to " + e.Service + portsText(ports)
	}
	return "allow from outside to " + e.Service + portsText(ports)
}

func selectorsText(selectors []spec.Selector) string { return listText(selectors) }

func portsText(ports []spec.Ports) string {
	if len(ports) == 0 {
		return ""
	}
	return " ports " + listText(ports)
}

// listText names the first few of a list that may have thousands.
func listText[T fmt.Stringer](list []T) string {
	const most = 8
	var texts []string
	for i, item := range list {
		if i == most {
			texts = append(texts, fmt.Sprintf("%d more", len(list)-most))
			break
		}
		texts = append(texts, item.String())
	}
	return strings.Join(texts, ",")
}
