package main

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/gopacket/gopacket"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
)

// allPairs fetches a page from each workload for each other one, over the overlay,
// and by the name that the other has.
func (d *gridDemo) allPairs(ctx context.Context) error {
	var checks []check
	for _, from := range d.members {
		for _, to := range d.members {
			if from != to {
				checks = append(checks, d.pair(from, to))
			}
		}
	}
	web := d.members[0]
	checks = append(checks, get("outside → shop/web-1", d.grid.Outside, web.at()))
	for _, n := range d.members[1:2] {
		c := silence(fmt.Sprintf("outside → shop/%s-1", n.service), d.grid.Outside, n.at())
		c.reason, c.monitor, c.drop = "policy_inbound", n.monitor, dropOf(lab.OutsideIPv6, n.at())
		checks = append(checks, c)
	}
	for _, n := range d.members {
		checks = append(checks, d.lookup(n))
	}
	// One after the other: when both ends of a new tunnel speak first in the same
	// instant, each drops the other's answer (WireGuard tries again after 5 s), and two
	// connections that try again in step meet again.
	return d.runAll(ctx, "One page, one network on three nodes", 1, checks)
}

func dropOf(from netip.Addr, to netip.AddrPort) func(lab.Drop) bool {
	return func(drop lab.Drop) bool {
		return drop.Src == from && drop.Dst == to.Addr() && drop.Dport == to.Port()
	}
}

// pair: web may call db, and everybody the others. What may not is stopped where it
// begins.
func (d *gridDemo) pair(from, to *member) check {
	c := check{
		what:    fmt.Sprintf("%s-1 on %s → %s-1 on %s, tcp/%d", from.service, from.Name, to.service, to.Name, to.port),
		want:    string(probe.Answered),
		monitor: from.monitor, drop: dropOf(from.workload.Address, to.at()),
	}
	if from.service == "api" && to.service == "db" {
		c.want, c.reason = string(probe.Silent), "policy_inside"
	}
	c.run = func(ctx context.Context) (string, string, error) {
		_, outcome, err := probe.Get(ctx, from.workload.Machine, to.at(), patient)
		if err != nil {
			return "", "", err
		}
		verdict, err := from.Trace(ctx, shop+"/"+from.service+"-1", shop+"/"+to.service+"-1", "--tcp", fmt.Sprint(to.port))
		if err == nil && verdict.Allowed != (outcome == probe.Answered) {
			err = fmt.Errorf("%s, but trace says %s by %s", outcome, verdict.Verdict, verdict.Rule)
		}
		return string(outcome), "", err
	}
	return c
}

// patient bounds a try over a tunnel whose handshake it may have to wait for: one that
// was lost is sent again after 5 s (WireGuard's REKEY_TIMEOUT).
const patient = 6 * within

// lookup asks a workload's own resolver for the service of the next node.
func (d *gridDemo) lookup(at *member) check {
	var to *member
	for i, n := range d.members {
		if n == at {
			to = d.members[(i+1)%len(d.members)]
		}
	}
	name := fmt.Sprintf("%s.%s.internal", to.service, shop)
	return check{
		what: fmt.Sprintf("%s-1 on %s asks for %s", at.service, at.Name, name),
		want: to.workload.Address.String(),
		run: func(ctx context.Context) (string, string, error) {
			found, err := probe.Resolve(ctx, at.workload.Machine, name)
			return found, "", err
		},
	}
}

// nothingToRead looks at every packet between the nodes while tenants talk.
func (d *gridDemo) nothingToRead(ctx context.Context) error {
	return d.runAll(ctx, "What the wires between the nodes show", 1, []check{
		{what: "web-1 fetches 20 pages on n2 and n3: words of them to be read", want: "none", run: d.eavesdrop},
	})
}

// said are the words that a request and a page begin with.
var said = [][]byte{[]byte("GET / HTTP"), []byte("I am " + shop)}

func (d *gridDemo) eavesdrop(ctx context.Context) (string, string, error) {
	web, api, db := d.members[0], d.members[1], d.members[2]
	var wires []*probe.Wire
	for _, at := range []struct {
		machine *lab.Machine
		link    string
	}{{web.Machine, "eth0"}, {api.Machine, "eth0"}, {db.NAT, "far"}} {
		wire, err := probe.OpenWire(at.machine, at.link)
		if err != nil {
			return "", "", err
		}
		defer wire.Close()
		wires = append(wires, wire)
	}
	for i := range 20 {
		page, outcome, err := probe.Get(ctx, web.workload.Machine, []*member{api, db}[i%2].at(), within)
		if err != nil || outcome != probe.Answered || !strings.HasPrefix(page, string(said[1])) {
			return "", "", fmt.Errorf("page %d: %q, %s: %w", i, page, outcome, err)
		}
	}
	frames, readable := 0, 0
	for _, wire := range wires {
		frames += len(wire.Frames(func(gopacket.Packet) bool { return true }))
		readable += len(wire.Frames(func(p gopacket.Packet) bool {
			return slices.ContainsFunc(said, func(words []byte) bool { return bytes.Contains(p.Data(), words) })
		}))
	}
	if frames < 20*len(said) {
		return "", "", fmt.Errorf("only %d frames were seen", frames)
	}
	detail := fmt.Sprintf("in %d frames", frames)
	if readable > 0 {
		return fmt.Sprintf("%d times", readable), detail, nil
	}
	return "none", detail, nil
}
