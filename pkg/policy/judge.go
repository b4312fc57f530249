package policy

import "github.com/zosnet/zosnet/pkg/spec"

// Ruling is what one network says about a flow.
type Ruling struct {
	Network  string
	Side     Side
	Position int // of the entry that decides, in the network's entries
	Entry    Entry
}

// Judge gives what each network that a flow concerns says about its first packet:
// one ruling where both ends are of one network (its access devices among them), else
// the one that the flow
// leaves, then the one that it enters. The flow is allowed when all rulings allow
// it, and denied by the first that does not. Between two strangers there is
// nothing to rule. The port is the destination's, or the ICMPv6 type.
//
// It goes through the documents from the top, as DESIGN says what they mean, and
// knows nothing of the compiled form.
func (w *World) Judge(from, to Endpoint, proto uint8, port uint16) []Ruling {
	if from.Network == to.Network {
		return w.rule(nil, from.Network, Inside, from, to, proto, port)
	}
	rulings := w.rule(nil, from.Network, Outbound, from, to, proto, port)
	return w.rule(rulings, to.Network, Inbound, from, to, proto, port)
}

func (w *World) rule(rulings []Ruling, network string, side Side, from, to Endpoint, proto uint8, port uint16) []Ruling {
	n, ok := w.Network(network)
	if !ok {
		return rulings
	}
	position := n.decides(side, from, to, proto, port)
	return append(rulings, Ruling{network, side, position, n.entry(position)})
}

func (n Network) entry(position int) Entry {
	own, access := ownRules(n.Document, n.Resolver), admissions(n.Document)
	if position == len(own)+len(n.Document.Rules)+len(access)+len(n.Document.Expose)+len(defaultSides) {
		return refusal(n.Document)
	}
	return entryAt(n.Document, own, access, position)
}

// decides gives the position of the entry that decides.
func (n Network) decides(side Side, from, to Endpoint, proto uint8, port uint16) int {
	doc, position := n.Document, 0
	for _, rules := range [][]spec.Rule{ownRules(doc, n.Resolver), doc.Rules} {
		for _, r := range rules {
			if oneMatches(doc, r.From, from) && oneMatches(doc, r.To, to) && portsMatch(r.Ports, proto, port) {
				return position
			}
			position++
		}
	}
	for _, a := range admissions(doc) {
		if from.Network == doc.Name && from.Access == a.device && to.Network == doc.Name && to.Service == a.service &&
			len(a.ports) > 0 && portsMatch(a.ports, proto, port) {
			return position
		}
		position++
	}
	for i, e := range doc.Expose {
		if side == Inbound && exposed(doc, e, to, proto, port) {
			return position + i
		}
	}
	position += len(doc.Expose)
	if n.isDevice(from) || n.isDevice(to) {
		return position + len(defaultSides) // no default is about them
	}
	for i, s := range defaultSides {
		if s == side {
			position += i
		}
	}
	return position
}

// isDevice says whether an end is one of the network's access devices. For another
// network it is somebody outside, like its workloads.
func (n Network) isDevice(e Endpoint) bool {
	return e.Network == n.Document.Name && e.Access != ""
}

func oneMatches(doc *spec.Network, selectors []spec.Selector, e Endpoint) bool {
	for _, s := range selectors {
		if matches(doc, s, e) {
			return true
		}
	}
	return false
}

func matches(doc *spec.Network, s spec.Selector, e Endpoint) bool {
	switch s.Kind {
	case spec.SelectAny:
		return true
	case spec.SelectInside:
		return e.Network == doc.Name && e.Access == ""
	case spec.SelectAccess:
		return e.Network == doc.Name && e.Access == s.Name
	case spec.SelectOutside:
		return e.Network != doc.Name
	case spec.SelectService:
		return e.Network == doc.Name && e.Service == s.Name
	case spec.SelectPeerService:
		return e.Network == s.Network && e.Service == s.Name
	case spec.SelectCIDR:
		return s.CIDR.Contains(e.Address)
	}
	return false
}

// portsMatch says whether a rule's ports hold this one; a rule without ports
// means every port and protocol.
func portsMatch(ports []spec.Ports, proto uint8, port uint16) bool {
	for _, p := range ports {
		if p.Any || p.Proto == proto && p.First <= port && port <= p.Last {
			return true
		}
	}
	return len(ports) == 0
}

// exposed says whether an expose entry admits a stranger's flow. IPv4 comes by
// the proxy, never as a packet from outside.
func exposed(doc *spec.Network, e spec.Expose, to Endpoint, proto uint8, port uint16) bool {
	if e.IPv4 != "" || to.Network != doc.Name || to.Service != e.Service {
		return false
	}
	ports := e.Ports
	if len(ports) == 0 {
		service, _ := doc.Service(e.Service)
		ports = service.Ports
	}
	return len(ports) > 0 && portsMatch(ports, proto, port)
}
