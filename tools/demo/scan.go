package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
)

const quiet = "no answer"

// kinds are the scans: sampled ports here, the full ranges in make test.
var kinds = []struct {
	name string
	args []string
}{
	{"TCP, the 300 most used", []string{"-sS", "--top-ports", "300"}},
	{"UDP, the 50 most used", []string{"-sU", "--top-ports", "50"}},
	{"every protocol", []string{"-sO"}},
}

// scans runs nmap from outside and from inside a tenant.
func (d *demo) scans(ctx context.Context) error {
	nowhere := lab.Allocation.Addr().Next() // in the node's own /64, which tenants never get
	far := netip.MustParseAddr("2001:db8:aaaa:ff::1")
	targets := []struct {
		what   string
		from   *lab.Machine
		src    netip.Addr
		to     netip.Addr
		want   string
		reason string
	}{
		{"outside → the node, IPv4", d.lab.Outside, lab.OutsideIPv4, lab.NodeIPv4, quiet, "lockdown"},
		{"outside → the node, IPv6", d.lab.Outside, lab.OutsideIPv6, lab.NodeIPv6, quiet, "lockdown"},
		{"outside → the node's own /64", d.lab.Outside, lab.OutsideIPv6, nowhere, quiet, "unassigned"},
		{"outside → unassigned tenant space", d.lab.Outside, lab.OutsideIPv6, far, quiet, "unassigned"},
		{"outside → acme/web-1", d.lab.Outside, lab.OutsideIPv6, d.web.Address, "tcp/80 open (syn-ack)", "policy_inbound"},
		{"globex/api-1 → the node", d.api.Machine, d.api.Address, lab.NodeIPv6, quiet, "host"},
		{"globex/api-1 → its gateway", d.api.Machine, d.api.Address, d.api.Gateway(), quiet, "host"},
		{"globex/api-1 → acme/db-1", d.api.Machine, d.api.Address, d.db.Address, quiet, "policy_inbound"},
	}
	var checks []check
	for _, t := range targets {
		for _, kind := range kinds {
			c := check{
				what: "nmap " + t.what + ": " + kind.name, want: t.want, reason: t.reason,
				run: func(ctx context.Context) (string, string, error) {
					return scan(ctx, t.from, t.to, kind.args)
				},
				drop: func(drop lab.Drop) bool { return drop.Src == t.src && drop.Dst == t.to },
			}
			if t.to == d.web.Address && kind.args[0] != "-sS" {
				c.want = quiet
			}
			checks = append(checks, c)
		}
	}
	return d.runAll(ctx, "Scans", 4, checks)
}

func scan(ctx context.Context, from *lab.Machine, to netip.Addr, args []string) (string, string, error) {
	args = append([]string{"--min-rate", "1000", "--max-retries", "1"}, args...)
	found, err := probe.Nmap(ctx, from, to, args...)
	if err != nil {
		return "", "", err
	}
	detail := fmt.Sprintf("%d silent", found.Quiet)
	if len(found.Answered) > 0 {
		return strings.Join(found.Answered, ", "), detail, nil
	}
	return quiet, detail, nil
}
