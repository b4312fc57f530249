package policy

import (
	"fmt"
	"slices"

	"github.com/zosnet/zosnet/pkg/spec"
)

// Query asks what becomes of a new flow. From and To are NETWORK/SERVICE,
// NETWORK/WORKLOAD, NETWORK/ACCESS or an IPv6 address.
type Query struct {
	From  string
	To    string
	Proto uint8
	Port  uint16 // destination port, or ICMPv6 type
}

// Trace is the answer, in the shape that scripts read.
type Trace struct {
	From     TraceEnd    `json:"from"`
	To       TraceEnd    `json:"to"`
	Protocol string      `json:"protocol"` // such as "tcp/443"
	Verdict  string      `json:"verdict"`  // "allowed" or "denied"
	Rule     string      `json:"rule"`     // the entry that decides; empty where no rule has a say
	Reason   string      `json:"reason"`   // of the drop, as in `zosnet monitor`; empty when allowed
	Sides    []TraceSide `json:"sides"`
}

// TraceEnd is one end of the flow.
type TraceEnd struct {
	Address  string `json:"address,omitempty"`
	Network  string `json:"network,omitempty"` // empty: outside
	Service  string `json:"service,omitempty"`
	Workload string `json:"workload,omitempty"`
	Access   string `json:"access,omitempty"` // an access device
}

// TraceSide is what one network says.
type TraceSide struct {
	Network string `json:"network"`
	Side    string `json:"side"` // "inside", "outbound" or "inbound"
	Verdict string `json:"verdict"`
	Rule    string `json:"rule"` // "acme.yaml:14:5 rules[1] deny from inside to db"
	Entry   string `json:"entry"`
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
}

// The verdicts of a Trace.
const (
	Allowed = "allowed"
	Denied  = "denied"
)

// mostPairs bounds the ends that Trace compares where one name means several.
const mostPairs = 4096

// Allowed says whether the flow's first packet is let through.
func (t Trace) Allowed() bool { return t.Verdict == Allowed }

// Trace answers a query. The error says what it cannot tell: a name that is
// unknown, packets that rules have no say about, and workloads of a service that
// fare differently, since rules name some of their addresses.
func (w *World) Trace(q Query) (Trace, error) {
	if err := q.subjectToRules(); err != nil {
		return Trace{}, err
	}
	froms, err := w.resolve(q.From)
	if err != nil {
		return Trace{}, err
	}
	tos, err := w.resolve(q.To)
	if err != nil {
		return Trace{}, err
	}
	_, decided := w.withoutRules(froms[0], tos[0], q)
	if froms[0].Network == "" && tos[0].Network == "" && !decided {
		return Trace{}, fmt.Errorf("trace %s to %s: neither is in a network of this node, so no rule has a say", q.From, q.To)
	}
	if !w.namesCIDRs(froms[0].Network) && !w.namesCIDRs(tos[0].Network) {
		froms, tos = froms[:1], tos[:1]
	}
	if len(froms)*len(tos) > mostPairs {
		return Trace{}, fmt.Errorf("trace %s to %s: %d pairs of addresses; name one workload of each", q.From, q.To,
			len(froms)*len(tos))
	}
	first := w.trace(q, froms[0], tos[0])
	for _, from := range froms {
		for _, to := range tos {
			if t := w.trace(q, from, to); t.Verdict != first.Verdict {
				return Trace{}, fmt.Errorf("trace %s to %s: %s to %s is %s by %s, but %s to %s is %s by %s; name the workloads",
					q.From, q.To, first.From, first.To, first.Verdict, first.because(), t.From, t.To, t.Verdict, t.because())
			}
		}
	}
	return first, nil
}

func (w *World) trace(q Query, from, to Endpoint) Trace {
	t := Trace{
		From: endOf(from), To: endOf(to), Verdict: Allowed, Sides: []TraceSide{},
		Protocol: spec.Ports{Proto: q.Proto, First: q.Port, Last: q.Port}.String(),
	}
	if reason, decided := w.withoutRules(from, to, q); decided {
		t.Reason = reason.String()
		if reason != None {
			t.Verdict = Denied
		}
		return t
	}
	for _, r := range w.Judge(from, to, q.Proto, q.Port) {
		side := sideOf(r)
		t.Sides = append(t.Sides, side)
		if t.Verdict == Allowed {
			t.Rule = side.Rule
		}
		if t.Verdict == Allowed && !r.Entry.Allow {
			t.Verdict = Denied
			t.Reason = r.Side.reason().String()
		}
	}
	return t
}

func sideOf(r Ruling) TraceSide {
	side := TraceSide{
		Network: r.Network, Side: r.Side.String(), Verdict: Denied, Rule: r.Entry.String(), Entry: r.Entry.Key(),
		File: r.Entry.Pos.File, Line: r.Entry.Pos.Line, Column: r.Entry.Pos.Column,
	}
	if r.Entry.Allow {
		side.Verdict = Allowed
	}
	return side
}

func endOf(e Endpoint) TraceEnd {
	end := TraceEnd{Network: e.Network, Service: e.Service, Workload: e.Workload, Access: e.Access}
	if e.Address.IsValid() {
		end.Address = e.Address.String()
	}
	return end
}

// String names the end as a Query does.
func (e TraceEnd) String() string {
	switch {
	case e.Workload != "":
		return e.Network + "/" + e.Workload
	case e.Service != "":
		return e.Network + "/" + e.Service
	case e.Access != "":
		return e.Network + "/" + e.Access
	}
	return e.Address
}

func (t Trace) because() string {
	if t.Rule != "" {
		return t.Rule
	}
	return t.Reason
}

// subjectToRules refuses what rules have no say about.
func (q Query) subjectToRules() error {
	if q.Proto != spec.ProtoICMPv6 || q.Port == icmpEchoRequest || q.Port == icmpEchoReply {
		return nil
	}
	if q.Port < 128 || isNeighborDiscovery(uint8(q.Port)) || isMulticastListener(uint8(q.Port)) {
		return fmt.Errorf("trace icmpv6/%s: rules have no say about it: ICMPv6 errors follow the flow that they are about, "+
			"ND and MLD have guards of their own; ask about echo-request or a port", spec.ICMPv6TypeName(uint8(q.Port)))
	}
	return nil
}

// namesCIDRs says whether a network's rules can tell two addresses of one
// service apart.
func (w *World) namesCIDRs(network string) bool {
	n, ok := w.Network(network)
	if !ok {
		return false
	}
	isCIDR := func(s spec.Selector) bool { return s.Kind == spec.SelectCIDR && s.CIDR.Addr().Is6() }
	return slices.ContainsFunc(n.Document.Rules, func(r spec.Rule) bool {
		return slices.ContainsFunc(r.From, isCIDR) || slices.ContainsFunc(r.To, isCIDR)
	})
}
