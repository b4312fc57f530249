package node

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
)

// The document of TestMeaning, and its neighbour. A comment says what each
// line is there for.
const (
	plum = `network: plum
nodes: [n1]
services:
  web:   {ports: [tcp/80]}
  db:    {ports: [tcp/5432]}
  cache: {}
rules:
  - deny:  {from: [web, cache], to: db, ports: [tcp/81]}        # first match wins
  - allow: {from: web, to: db, ports: [tcp/80-90]}              # a range
  - deny:  {from: inside, to: db}
  - deny:  {from: 198.51.100.0/24, to: web}                     # IPv4: matches nobody here
  - deny:  {from: outside, to: web, ports: [tcp/443]}           # beats the expose below
  - allow: {from: 2001:db8:2::3/128, to: cache, ports: [tcp/80, icmpv6/echo-request]}
  - allow: {from: fig/api, to: db, ports: [tcp/5432]}
  - deny:  {from: inside, to: 2001:db8:2::3/128, ports: [tcp/25]}
  - deny:  {from: any, to: cache, ports: [udp/any]}
expose:
  - {service: web}                                              # the service's own ports
  - {service: web, ports: [tcp/443, udp/53]}
`
	fig = `network: fig
nodes: [n1]
services: {api: {}, job: {}}
default: {outbound: deny}
rules:
  - allow: {from: api, to: plum/db}
  - allow: {from: job, to: outside, ports: [tcp/80]}
`
)

// TestMeaning reads as DESIGN's page on what documents mean: who starts what
// towards whom, and which reason says no. Traffic and `zosnet trace` must say
// the same.
func TestMeaning(t *testing.T) {
	n := start(t, lab.Config{Friend: true})
	n.apply(plum, fig)
	web, db, cache := n.attach("plum", "web", "web-1"), n.attach("plum", "db", "db-1"), n.attach("plum", "cache", "cache-1")
	api, job := n.attach("fig", "api", "api-1"), n.attach("fig", "job", "job-1")
	outside := &lab.Workload{Machine: n.Outside, Address: lab.OutsideIPv6}
	friend := &lab.Workload{Machine: n.Friend, Address: lab.FriendIPv6}
	for _, w := range []*lab.Workload{web, db, cache, api, job, outside, friend} {
		for _, port := range []uint16{25, 80, 81, 90, 91, 443, 5432} {
			n.serve(w.Machine, at(w, port))
		}
		n.echo(w.Machine, at(w, 53))
	}
	const allowed = ""
	tests := []struct {
		from, to *lab.Workload
		what     string // protocol and port
		reason   string
	}{
		{web, db, "tcp/80", allowed},
		{web, db, "tcp/81", "policy_inside"}, // the deny stands before the range
		{web, db, "tcp/90", allowed},
		{web, db, "tcp/91", "policy_inside"},
		{web, db, "udp/53", "policy_inside"},
		{cache, db, "tcp/80", "policy_inside"},
		{db, web, "tcp/80", allowed}, // by default, whatever the reverse says
		{db, web, "tcp/91", allowed},
		{db, cache, "udp/53", "policy_inside"}, // any is inside too
		{cache, web, "udp/53", allowed},

		{outside, web, "tcp/80", allowed}, // expose without ports
		{outside, web, "tcp/443", "policy_inbound"},
		{outside, web, "udp/53", allowed},
		{outside, web, "tcp/81", "policy_inbound"},
		{outside, web, "icmpv6/128", "policy_inbound"},
		{outside, cache, "tcp/80", "policy_inbound"},
		{friend, cache, "tcp/80", allowed}, // an allow needs no expose
		{friend, cache, "tcp/81", "policy_inbound"},
		{friend, cache, "icmpv6/128", allowed},
		{friend, db, "icmpv6/128", "policy_inbound"},

		{web, outside, "tcp/25", allowed},
		{web, friend, "tcp/25", "policy_outbound"},
		{web, friend, "tcp/80", allowed},
		{web, friend, "icmpv6/128", allowed},

		{api, db, "tcp/5432", allowed},        // both sides say so
		{api, db, "tcp/80", "policy_inbound"}, // only its own side does
		{api, web, "tcp/80", "policy_outbound"},
		{api, outside, "tcp/80", "policy_outbound"},
		{job, db, "tcp/5432", "policy_outbound"},
		{job, web, "tcp/80", allowed}, // another network is outside
		{job, outside, "tcp/80", allowed},
		{job, outside, "tcp/443", "policy_outbound"},
		{db, api, "tcp/80", "policy_inbound"}, // replies need no rule, starts do
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%s to %s %s", test.from.Name, test.to.Name, test.what), func(t *testing.T) {
			t.Parallel()
			want := probe.Answered
			if test.reason != allowed {
				want = probe.Silent
			}
			got, flags, err := try(t, test.from, test.to, test.what)
			if err != nil || got != want {
				t.Errorf("traffic: %s %v, want %s", got, err, want)
			}
			verdict, err := n.daemon.Trace(t.Context(), traceName(test.from), traceName(test.to), flags...)
			if err != nil || verdict.Reason != test.reason || verdict.Allowed != (test.reason == allowed) {
				t.Errorf("trace: %+v %v, want reason %q", verdict, err, test.reason)
			}
		})
	}
}

// try does what ("tcp/80") and returns the flags by which trace is asked.
func try(t *testing.T, from, to *lab.Workload, what string) (probe.Outcome, []string, error) {
	var protocol string
	var number uint16
	if _, err := fmt.Sscanf(what, "%3s/%d", &protocol, &number); err != nil {
		if _, err := fmt.Sscanf(what, "icmpv6/%d", &number); err != nil {
			t.Fatal(err)
		}
		got, err := probe.Ping(from.Machine, to.Address, within)
		return got, []string{"--icmpv6", fmt.Sprint(number)}, err
	}
	target := netip.AddrPortFrom(to.Address, number)
	flags := []string{"--" + protocol, fmt.Sprint(number)}
	if protocol == "udp" {
		got, err := probe.Exchange(t.Context(), from.Machine, target, within)
		return got, flags, err
	}
	got, err := probe.Connect(t.Context(), from.Machine, target, within)
	return got, flags, err
}

func traceName(w *lab.Workload) string {
	if w.Network == "" {
		return w.Address.String()
	}
	return w.Network + "/" + w.Workload
}
