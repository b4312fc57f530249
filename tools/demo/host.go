package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
)

// hostItself shows what the node's own stack may do, and what it does not say
// to those who ask.
func (d *demo) hostItself(ctx context.Context) error {
	outside := func(a netip.Addr) caller { return caller{"outside", d.lab.Outside, a} }
	node := func(a netip.Addr) caller { return caller{"the node", d.lab.Node, a} }
	api := caller{"globex/api-1", d.api.Machine, d.api.Address}
	return d.runAll(ctx, "The host", 8, []check{
		d.get("the node fetches a page", d.lab.Node, netip.AddrPortFrom(lab.OutsideIPv4, webPort)),
		d.get("the node fetches a page", d.lab.Node, netip.AddrPortFrom(lab.OutsideIPv6, webPort)),
		node(lab.NodeIPv4).ping("outside", lab.OutsideIPv4, ""),
		node(lab.NodeIPv6).ping("outside", lab.OutsideIPv6, ""),
		outside(lab.OutsideIPv4).ping("the node", lab.NodeIPv4, "lockdown"),
		outside(lab.OutsideIPv6).ping("the node", lab.NodeIPv6, "lockdown"),
		outside(lab.OutsideIPv6).ping("acme's gateway", d.web.Gateway(), "unassigned"),
		api.ping("its gateway", d.api.Gateway(), ""),
		api.ping("the node", lab.NodeIPv6, "host"),
		api.ping("acme's gateway", d.web.Gateway(), "unassigned"),
	})
}

func (b *board) get(what string, from *lab.Machine, to netip.AddrPort) check {
	return check{
		what: fmt.Sprintf("%s, %v", what, to),
		want: string(probe.Answered),
		run: func(ctx context.Context) (string, string, error) {
			_, outcome, err := probe.Get(ctx, from, to, b.slow(within))
			return string(outcome), "", err
		},
	}
}

// caller is somebody at one of its addresses.
type caller struct {
	name    string
	machine *lab.Machine
	address netip.Addr
}

// ping is answered where no reason is given, and met with silence otherwise.
func (c caller) ping(name string, to netip.Addr, reason string) check {
	echo := check{
		what:   fmt.Sprintf("%s pings %s, %v", c.name, name, to),
		want:   string(probe.Answered),
		reason: reason,
		run: func(context.Context) (string, string, error) {
			outcome, err := probe.Ping(c.machine, to, within)
			return string(outcome), "", err
		},
		drop: func(drop lab.Drop) bool {
			return drop.Src == c.address && drop.Dst == to && strings.HasPrefix(drop.Proto, "icmp")
		},
	}
	if reason != "" {
		echo.want = string(probe.Silent)
	}
	return echo
}
