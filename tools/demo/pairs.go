package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
)

// party is somebody who calls or is called.
type party struct {
	name    string // as `zosnet trace` takes it
	machine *lab.Machine
	at      netip.AddrPort
}

func (d *demo) parties() []party {
	of := func(w *lab.Workload, port uint16) party {
		return party{w.Network + "/" + w.Workload, w.Machine, netip.AddrPortFrom(w.Address, port)}
	}
	return []party{
		of(d.web, webPort), of(d.db, dbPort), of(d.api, webPort), of(d.store, storePort),
		{lab.OutsideIPv6.String(), d.lab.Outside, netip.AddrPortFrom(lab.OutsideIPv6, webPort)},
	}
}

// denied is who may not call whom, and why. Every other pair may.
var denied = map[[2]string]string{
	{"acme/db-1", "globex/api-1"}:    "policy_inbound",
	{"acme/web-1", "globex/store-1"}: "policy_inbound",
	{"acme/db-1", "globex/store-1"}:  "policy_inbound",
	{"globex/api-1", "acme/db-1"}:    "policy_inbound",
	{"globex/store-1", "acme/web-1"}: "policy_outbound",
	{"globex/store-1", "acme/db-1"}:  "policy_outbound",
	{"globex/store-1", outsideName}:  "policy_outbound",
	{outsideName, "acme/db-1"}:       "policy_inbound",
	{outsideName, "globex/api-1"}:    "policy_inbound",
	{outsideName, "globex/store-1"}:  "policy_inbound",
}

var outsideName = lab.OutsideIPv6.String()

// whoReachesWhom fetches a page from each party for each other one, and asks
// the daemon's trace whether it would have said so.
func (d *demo) whoReachesWhom(ctx context.Context) error {
	var checks []check
	for _, from := range d.parties() {
		for _, to := range d.parties() {
			if from.name != to.name {
				checks = append(checks, d.pair(from, to))
			}
		}
	}
	return d.runAll(ctx, "Who reaches whom, over HTTP", 8, checks)
}

func (d *demo) pair(from, to party) check {
	c := check{
		what: fmt.Sprintf("%s → %s, tcp/%d", short(from.name), short(to.name), to.at.Port()),
		want: string(probe.Answered),
		drop: func(drop lab.Drop) bool {
			return drop.Src == from.at.Addr() && drop.Dst == to.at.Addr() && drop.Dport == to.at.Port()
		},
	}
	if reason := denied[[2]string{from.name, to.name}]; reason != "" {
		c.want, c.reason = string(probe.Silent), reason
	}
	c.run = func(ctx context.Context) (string, string, error) {
		_, outcome, err := probe.Get(ctx, from.machine, to.at, d.slow(within))
		if err != nil {
			return "", "", err
		}
		verdict, err := d.daemon.Trace(ctx, from.name, to.name, "--tcp", fmt.Sprint(to.at.Port()))
		if err != nil {
			return string(outcome), "", err
		}
		if verdict.Allowed != (outcome == probe.Answered) || verdict.Reason != c.reason {
			return string(outcome), "", fmt.Errorf("%s, but trace says %s by %s, reason %q",
				outcome, verdict.Verdict, verdict.Rule, verdict.Reason)
		}
		return string(outcome), strings.ReplaceAll(verdict.Rule, d.lab.Path("")+"/", ""), nil
	}
	return c
}

// short is a party's name as the table shows it.
func short(name string) string {
	if name == outsideName {
		return "outside"
	}
	return name
}
