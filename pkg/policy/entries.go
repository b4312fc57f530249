package policy

import (
	"fmt"
	"strings"

	"github.com/zosnet/zosnet/pkg/spec"
)

// EntriesOf gives what decides in a network, by position: what keeps its resolver
// where it has one, rules, access, expose, defaults.
func EntriesOf(doc *spec.Network, resolver bool) []Entry {
	own, access := ownRules(doc, resolver), admissions(doc)
	entries := make([]Entry, len(own)+len(doc.Rules)+len(access)+len(doc.Expose)+len(defaultSides))
	for i := range entries {
		entries[i] = entryAt(doc, own, access, i)
	}
	if len(doc.Access) > 0 {
		entries = append(entries, refusal(doc))
	}
	return entries
}

// admission is what access admits a device to: one service.
type admission struct {
	device, service string
	ports           []spec.Ports
	pos             spec.Pos
}

// admissions gives those of all devices, each service under its own ports where the
// device names none.
func admissions(doc *spec.Network) (list []admission) {
	for _, a := range doc.Access {
		for _, s := range a.Allow {
			ports := a.Ports
			if len(ports) == 0 {
				service, _ := doc.Service(s.Name)
				ports = service.Ports
			}
			list = append(list, admission{a.Name, s.Name, ports, a.Pos})
		}
	}
	return list
}

// refusal stands behind all else of a network with access: what no entry before it
// decides is from an access device or to one.
func refusal(doc *spec.Network) Entry {
	return Entry{Kind: EntryRefusal, Pos: doc.Access[0].Pos, Text: "deny what is from or to an access device"}
}

func entryAt(doc *spec.Network, own []spec.Rule, access []admission, i int) Entry {
	if i < len(own) {
		return Entry{Kind: EntryOwn, Index: i, Allow: own[i].Action == spec.Allow, Pos: doc.Pos, Text: ruleText(own[i])}
	}
	i -= len(own)
	if i < len(doc.Rules) {
		r := doc.Rules[i]
		return Entry{
			Kind: EntryRule, Index: i, Allow: r.Action == spec.Allow, Log: r.Log, Pos: r.Pos, Text: ruleText(r),
		}
	}
	i -= len(doc.Rules)
	if i < len(access) {
		a := access[i]
		return Entry{
			Kind: EntryAccess, Index: i, Name: a.device + "." + a.service, Allow: true, Pos: a.pos,
			Text: "allow from " + a.device + " to " + a.service + portsText(a.ports),
		}
	}
	i -= len(access)
	if i < len(doc.Expose) {
		e := doc.Expose[i]
		return Entry{Kind: EntryExpose, Index: i, Allow: true, Pos: e.Pos, Text: exposeText(doc, e)}
	}
	i -= len(doc.Expose)
	return defaultEntry(doc, i, defaultSides[i])
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
	text := fmt.Sprintf("%s from %s to %s%s", r.Action, listText(r.From), listText(r.To), portsText(r.Ports))
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
