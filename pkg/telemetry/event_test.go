package telemetry

import (
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zosnet/zosnet/pkg/maps"
)

// TestLine says what a line of `zosnet monitor -o json` looks like.
func TestLine(t *testing.T) {
	for _, row := range []struct {
		name string
		edit func(*maps.Event)
		want string // without time and length
	}{
		{"a rule denies", func(*maps.Event) {},
			`{"kind":"drop","reason":"policy_inside","network":"acme","src":"2001:db8:aaaa:1::100","dst":"2001:db8:aaaa:1::101",` +
				`"proto":"tcp","sport":40000,"dport":5432,"interface":"zwweb-1-abcdefg","hook":"workload_egress","rule":"rules[1]","mac":"02:00:00:00:00:01"}`},
		{"a default denies", func(e *maps.Event) { e.Entry, e.Reason = 4, reason("policy_inbound") },
			`{"kind":"drop","reason":"policy_inbound","network":"acme","src":"2001:db8:aaaa:1::100","dst":"2001:db8:aaaa:1::101",` +
				`"proto":"tcp","sport":40000,"dport":5432,"interface":"zwweb-1-abcdefg","hook":"workload_egress","rule":"default.inbound","mac":"02:00:00:00:00:01"}`},
		{"no rule was asked", func(e *maps.Event) { e.Entry, e.Reason = ^uint32(0), reason("spoofed_mac") },
			`{"kind":"drop","reason":"spoofed_mac","network":"acme","src":"2001:db8:aaaa:1::100","dst":"2001:db8:aaaa:1::101",` +
				`"proto":"tcp","sport":40000,"dport":5432,"interface":"zwweb-1-abcdefg","hook":"workload_egress","rule":"","mac":"02:00:00:00:00:01"}`},
		{"ICMPv6 has no ports", func(e *maps.Event) { e.Proto, e.IcmpType = 58, 128 },
			`{"kind":"drop","reason":"policy_inside","network":"acme","src":"2001:db8:aaaa:1::100","dst":"2001:db8:aaaa:1::101",` +
				`"proto":"icmpv6","sport":0,"dport":0,"interface":"zwweb-1-abcdefg","hook":"workload_egress","rule":"rules[1]","mac":"02:00:00:00:00:01","icmpType":128}`},
		{"IPv4 for the host", func(e *maps.Event) {
			e.Network, e.Entry, e.EtherType, e.Ifindex = 0, ^uint32(0), 0x0800, 2
			e.Hook, e.Reason, e.Proto = hook("uplink_xdp"), reason("lockdown"), 17
			e.Saddr, e.Daddr = maps.AddressOf(netip.MustParseAddr("203.0.113.9")), maps.AddressOf(netip.MustParseAddr("192.0.2.10"))
		},
			`{"kind":"drop","reason":"lockdown","network":"","src":"203.0.113.9","dst":"192.0.2.10",` +
				`"proto":"udp","sport":40000,"dport":5432,"interface":"eth0","hook":"uplink_xdp","rule":"","mac":"02:00:00:00:00:01"}`},
		{"a protocol without a name", func(e *maps.Event) { e.Proto, e.Sport, e.Dport = 41, 0, 0 },
			`{"kind":"drop","reason":"policy_inside","network":"acme","src":"2001:db8:aaaa:1::100","dst":"2001:db8:aaaa:1::101",` +
				`"proto":"41","sport":0,"dport":0,"interface":"zwweb-1-abcdefg","hook":"workload_egress","rule":"rules[1]","mac":"02:00:00:00:00:01"}`},
		{"a frame that is not IP", func(e *maps.Event) {
			e.EtherType, e.Reason, e.Entry = 0x0806, reason("not_ipv6"), ^uint32(0)
			e.Saddr, e.Daddr, e.Proto = maps.Address{}, maps.Address{}, 0
		},
			`{"kind":"drop","reason":"not_ipv6","network":"acme","src":"","dst":"",` +
				`"proto":"","sport":0,"dport":0,"interface":"zwweb-1-abcdefg","hook":"workload_egress","rule":"","mac":"02:00:00:00:00:01","etherType":"0x0806"}`},
		{"a packet that ends before its addresses", func(e *maps.Event) {
			e.Reason, e.Saddr, e.Daddr, e.Proto = reason("malformed"), maps.Address{}, maps.Address{}, 0
			e.Entry = ^uint32(0)
		},
			`{"kind":"drop","reason":"malformed","network":"acme","src":"","dst":"",` +
				`"proto":"","sport":0,"dport":0,"interface":"zwweb-1-abcdefg","hook":"workload_egress","rule":"","mac":"02:00:00:00:00:01"}`},
		{"a rule with log: true allows", func(e *maps.Event) { e.Kind, e.Reason, e.Entry, e.Allowed = uint32(maps.EventLog), 0, 0, 1 },
			`{"kind":"log","reason":"none","network":"acme","src":"2001:db8:aaaa:1::100","dst":"2001:db8:aaaa:1::101",` +
				`"proto":"tcp","sport":40000,"dport":5432,"interface":"zwweb-1-abcdefg","hook":"workload_egress","rule":"rules[0]","mac":"02:00:00:00:00:01"}`},
		{"a VM's address is bound", func(e *maps.Event) {
			e.Kind, e.Reason, e.Entry, e.Workload, e.Proto = uint32(maps.EventLearn), 0, ^uint32(0), 256, 58
			e.Daddr = maps.Address{}
		},
			`{"kind":"learn","reason":"none","network":"acme","src":"2001:db8:aaaa:1::100","dst":"::",` +
				`"proto":"","sport":0,"dport":0,"interface":"zwweb-1-abcdefg","hook":"workload_egress","rule":"","workload":"web-1","mac":"02:00:00:00:00:01"}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			raw := tcpDrop()
			row.edit(&raw)
			line, err := eventOf(&raw, testLookup).Line()
			must(t, err)
			var got, want map[string]any
			must(t, json.Unmarshal(line, &got))
			must(t, json.Unmarshal([]byte(row.want), &want))
			delete(got, "time")
			delete(got, "length")
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
			if line[len(line)-1] != '\n' {
				t.Error("the line does not end")
			}
		})
	}
}

func TestEventTime(t *testing.T) {
	raw := tcpDrop()
	raw.Time = maps.BootTime() - uint64(time.Hour)
	if ago := time.Since(eventOf(&raw, testLookup).Time); ago < time.Hour || ago > time.Hour+time.Second {
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
