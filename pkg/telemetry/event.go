package telemetry

import (
	"net/netip"
	"strconv"
	"time"

	"github.com/zosnet/zosnet/pkg/maps"
)

// Kind says what an event is about.
type Kind string

// The kinds of event.
const (
	Dropped Kind = "drop"
	Logged  Kind = "log"   // a rule with log: true decided
	Learned Kind = "learn" // a VM's address was bound
)

// Event is one thing that the datapath tells of. A field that does not apply is
// zero.
type Event struct {
	Time      time.Time
	Kind      Kind
	Reason    string // why it was dropped, as in metrics; "none" when it was not
	Network   string
	Src       netip.Addr
	Dst       netip.Addr
	Proto     string // tcp, udp, sctp, icmp, icmpv6 or a number
	Sport     uint16
	Dport     uint16
	Interface string
	Hook      string // the program that saw it
	Rule      string // which entry decided: rules[0], expose[1], default.inbound
	Workload  string // Learned: whose address Src is
	MAC       string // source
	ICMPType  *uint8
	EtherType string // of a frame that is not IP, such as 0x0806
	Length    uint32 // bytes on the wire

	Frame []byte // its first bytes, from the link-layer header on
}

// Ethernet types (IEEE 802) and protocol numbers (IANA) that have names here.
const (
	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd
	icmp      = 1
	icmpv6    = 58
)

var protocols = map[uint8]string{icmp: "icmp", 6: "tcp", 17: "udp", icmpv6: "icmpv6", 132: "sctp"}

var kinds = map[uint32]Kind{
	uint32(maps.EventDrop):  Dropped,
	uint32(maps.EventLog):   Logged,
	uint32(maps.EventLearn): Learned,
}

// eventOf puts an event of the ring buffer into words.
func eventOf(raw *maps.Event, lookup Lookup) Event {
	network, _ := lookup.network(raw.Network)
	e := Event{
		Time:      raw.When(),
		Kind:      kinds[raw.Kind],
		Reason:    maps.DropReason(raw.Reason).String(),
		Network:   network.Name,
		Interface: lookup.Interface(raw.Ifindex),
		Hook:      maps.Hook(raw.Hook).String(),
		Rule:      ruleOf(raw, lookup),
		MAC:       raw.Mac.String(),
		Length:    raw.Length,
		Frame:     append([]byte(nil), raw.Frame()...),
	}
	if e.Kind == Learned {
		e.Workload = network.Workloads[raw.Workload]
	}
	e.addresses(raw)
	return e
}

// ruleOf names the entry that decided, with its network where that is not the one
// that the event is counted for.
func ruleOf(raw *maps.Event, lookup Lookup) string {
	judge, _ := lookup.network(raw.Judge)
	rule := judge.rule(raw.Entry)
	if rule == "" || raw.Judge == raw.Network {
		return rule
	}
	return judge.Name + " " + rule
}

// addresses fills in what only an IP packet has. One that could not be read far
// enough has no addresses.
func (e *Event) addresses(raw *maps.Event) {
	if raw.EtherType != etherIPv4 && raw.EtherType != etherIPv6 {
		if raw.EtherType != 0 {
			e.EtherType = "0x" + strconv.FormatUint(0x10000|uint64(raw.EtherType), 16)[1:]
		}
		return
	}
	src, dst := raw.Source(), raw.Destination()
	if src.Addr() == netip.IPv6Unspecified() && dst.Addr() == netip.IPv6Unspecified() {
		return
	}
	e.Src, e.Dst = src.Addr(), dst.Addr()
	if e.Kind == Learned {
		return
	}
	e.Proto = protocols[raw.Proto]
	if e.Proto == "" {
		e.Proto = strconv.Itoa(int(raw.Proto))
	}
	if raw.Proto == icmp || raw.Proto == icmpv6 {
		number := raw.IcmpType
		e.ICMPType = &number
		return
	}
	e.Sport, e.Dport = src.Port(), dst.Port()
}
