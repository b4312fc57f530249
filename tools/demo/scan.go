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
	// What is open on purpose: an exposed port, and ping to one's own gateway.
	open := map[netip.Addr]map[string]string{
		d.web.Address:   {"-sS": "tcp/80 open (syn-ack)", "-sO": "ip/6 open (proto-response)"},
		d.api.Gateway(): {"-sO": "ip/58 open (proto-response)"},
	}
	targets := []struct {
		what   string
		from   *lab.Machine
		src    netip.Addr
		to     netip.Addr
		reason string
	}{
		{"outside → the node, IPv4", d.lab.Outside, lab.OutsideIPv4, lab.NodeIPv4, "lockdown"},
		{"outside → the node, IPv6", d.lab.Outside, lab.OutsideIPv6, lab.NodeIPv6, "lockdown"},
		{"outside → the node's own /64", d.lab.Outside, lab.OutsideIPv6, nowhere, "lockdown"},
		{"outside → unassigned tenant space", d.lab.Outside, lab.OutsideIPv6, far, "unassigned"},
		{"outside → acme/web-1", d.lab.Outside, lab.OutsideIPv6, d.web.Address, "policy_inbound"},
		{"globex/api-1 → the node", d.api.Machine, d.api.Address, lab.NodeIPv6, "host"},
		{"globex/api-1 → its gateway", d.api.Machine, d.api.Address, d.api.Gateway(), "host"},
		{"globex/api-1 → acme/db-1", d.api.Machine, d.api.Address, d.db.Address, "policy_inbound"},
	}
	var checks []check
	for _, t := range targets {
		for _, kind := range kinds {
			c := check{
				what: "nmap " + t.what + ": " + kind.name, want: quiet, reason: t.reason,
				run: func(ctx context.Context) (string, string, error) {
					return scan(ctx, t.from, t.to, kind.args)
				},
				drop: func(drop lab.Drop) bool { return drop.Src == t.src && drop.Dst == t.to },
			}
			if answer, ok := open[t.to][kind.args[0]]; ok {
				c.want = answer
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
