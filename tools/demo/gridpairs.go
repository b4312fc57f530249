package main

import (
	"context"
	"fmt"
	"net/netip"

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
	checks = append(checks, d.get("outside → shop/web-1", d.grid.Outside, web.at()))
	for _, n := range d.members[1:2] {
		c := d.silence(fmt.Sprintf("outside → shop/%s-1", n.service), d.grid.Outside, n.at())
		c.reason, c.monitor, c.drop = "policy_inbound", n.monitor, dropOf(lab.OutsideIPv6, n.at())
		checks = append(checks, c)
	}
	for _, n := range d.members {
		checks = append(checks, d.lookup(n))
	}
	return d.runAll(ctx, "One page, one network on three nodes", 4, checks)
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
		monitor: from.monitor, drop: dropOf(from.workload.Address, to.at()),
	}
	want := probe.Answered
	if from.service == "api" && to.service == "db" {
		want, c.reason = probe.Silent, "policy_inside"
	}
	c.want = string(want)
	c.run = func(ctx context.Context) (string, string, error) {
		_, outcome, err := probe.Get(ctx, from.workload.Machine, to.at(), d.bound(want, patient))
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
