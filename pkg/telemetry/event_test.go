package telemetry

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/zosnet/zosnet/pkg/maps"
)

// TestEvent says what an event of the ring buffer says in words.
func TestEvent(t *testing.T) {
	denied := Event{Kind: Dropped, Reason: "policy_inside", Network: "acme", Rule: "rules[1]",
		Src: netip.MustParseAddr("2001:db8:aaaa:1::100"), Dst: netip.MustParseAddr("2001:db8:aaaa:1::101"),
		Proto: "tcp", Sport: 40000, Dport: 5432,
		Interface: "zwweb-1-abcdefg", Hook: "workload_egress", MAC: "02:00:00:00:00:01", Length: 94}
	echo := uint8(128)
	for _, row := range []struct {
		name string
		raw  func(*maps.Event)
		want func(*Event) // what differs from denied
	}{
		{"a rule denies", func(*maps.Event) {}, func(*Event) {}},
		{"a default denies",
			func(e *maps.Event) { e.Entry, e.Reason = 4, reason("policy_inbound") },
			func(e *Event) { e.Rule, e.Reason = "default.inbound", "policy_inbound" }},
		{"the other network's rule denies",
			func(e *maps.Event) { e.Network, e.Judge = 9, 1 },
			func(e *Event) { e.Network, e.Rule = "", "acme rules[1]" }},
		{"no rule was asked",
			func(e *maps.Event) { e.Entry, e.Reason = ^uint32(0), reason("spoofed_mac") },
			func(e *Event) { e.Rule, e.Reason = "", "spoofed_mac" }},
		{"ICMPv6 has no ports",
			func(e *maps.Event) { e.Proto, e.IcmpType = 58, 128 },
			func(e *Event) { e.Proto, e.Sport, e.Dport, e.ICMPType = "icmpv6", 0, 0, &echo }},
		{"IPv4 for the host",
			func(e *maps.Event) {
				e.Network, e.Entry, e.EtherType, e.Ifindex = 0, ^uint32(0), 0x0800, 2
				e.Hook, e.Reason, e.Proto = hook("uplink_xdp"), reason("lockdown"), 17
				e.Saddr, e.Daddr = maps.AddressOf(netip.MustParseAddr("203.0.113.9")), maps.AddressOf(netip.MustParseAddr("192.0.2.10"))
			},
			func(e *Event) {
				e.Network, e.Rule, e.Interface, e.Hook, e.Reason, e.Proto = "", "", "eth0", "uplink_xdp", "lockdown", "udp"
				e.Src, e.Dst = netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("192.0.2.10")
			}},
		{"a protocol without a name",
			func(e *maps.Event) { e.Proto, e.Sport, e.Dport = 41, 0, 0 },
			func(e *Event) { e.Proto, e.Sport, e.Dport = "41", 0, 0 }},
		{"a frame that is not IP",
			func(e *maps.Event) {
				e.EtherType, e.Reason, e.Entry, e.Saddr, e.Daddr = 0x0806, reason("not_ipv6"), ^uint32(0), maps.Address{}, maps.Address{}
			},
			func(e *Event) {
				e.EtherType, e.Reason, e.Rule, e.Src, e.Dst = "0x0806", "not_ipv6", "", netip.Addr{}, netip.Addr{}
				e.Proto, e.Sport, e.Dport = "", 0, 0
			}},
		{"a packet that ends before its addresses",
			func(e *maps.Event) {
				e.Reason, e.Entry, e.Saddr, e.Daddr = reason("malformed"), ^uint32(0), maps.Address{}, maps.Address{}
			},
			func(e *Event) {
				e.Reason, e.Rule, e.Src, e.Dst = "malformed", "", netip.Addr{}, netip.Addr{}
				e.Proto, e.Sport, e.Dport = "", 0, 0
			}},
		{"a rule with log: true allows",
			func(e *maps.Event) { e.Kind, e.Reason, e.Entry, e.Allowed = uint32(maps.EventLog), 0, 0, 1 },
			func(e *Event) { e.Kind, e.Reason, e.Rule = Logged, "none", "rules[0]" }},
		{"a VM's address is bound",
			func(e *maps.Event) {
				e.Kind, e.Reason, e.Entry, e.Workload, e.Proto = uint32(maps.EventLearn), 0, ^uint32(0), 256, 58
			},
			func(e *Event) {
				e.Kind, e.Reason, e.Rule, e.Workload, e.Proto, e.Sport, e.Dport = Learned, "none", "", "web-1", "", 0, 0
			}},
	} {
		t.Run(row.name, func(t *testing.T) {
			raw, want := tcpDrop(), denied
			row.raw(&raw)
			row.want(&want)
			got := eventOf(&raw, testLookup)
			want.Time, want.Frame = got.Time, raw.Frame()
			if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestEventTime(t *testing.T) {
	raw := tcpDrop()
	raw.Time = maps.BootTime() - uint64(time.Hour)
	if ago := time.Since(eventOf(&raw, testLookup).Time); ago < time.Hour || ago > time.Hour+time.Minute {
		t.Errorf("an event of an hour ago is %s old", ago)
	}
}

// TestInterfaces reads the machine's own: lo has index 1 in every namespace.
func TestInterfaces(t *testing.T) {
	var interfaces Interfaces
	if name := interfaces.Name(1); name != "lo" {
		t.Errorf("interface 1 is %s, want lo", name)
	}
	if name := interfaces.Name(1 << 30); name != "if1073741824" {
		t.Errorf("an interface that is not there is %s", name)
	}
}
