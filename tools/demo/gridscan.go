package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/zosnet/zosnet/test/lab"
)

// nothingToSee scans both nodes that have an address of the Internet: their most used
// ports, those of the grid's registry, and every port on which WireGuard listens.
func (d *gridDemo) nothingToSee(ctx context.Context) error {
	listening, err := d.wireguardPorts(ctx)
	if err != nil {
		return err
	}
	kinds := []struct {
		name string
		args []string
	}{
		{"TCP, the 300 most used", []string{"-sS", "--top-ports", "300"}},
		{"TCP, the registry's", []string{"-sS", "-p", "2379,2380,2391"}},
		{fmt.Sprintf("UDP, %s of WireGuard's", plural(len(listening), "port", "ports")), []string{"-sU", "-p", strings.Join(listening, ",")}},
	}
	var checks []check
	for _, n := range d.members[:2] {
		for _, kind := range kinds {
			checks = append(checks, check{
				what: fmt.Sprintf("nmap outside → %s: %s", n.Name, kind.name), want: quiet,
				run: func(ctx context.Context) (string, string, error) {
					return scan(ctx, d.grid.Outside, n.Address, kind.args)
				},
			})
		}
	}
	registry := netip.AddrPortFrom(d.members[0].Address, 2379)
	c := d.silence("home's router → n1, the registry", d.members[2].NAT, registry)
	c.reason, c.monitor = "lockdown", d.members[0].monitor
	c.drop = func(drop lab.Drop) bool { return drop.Dst == registry.Addr() && drop.Dport == registry.Port() }
	return d.runAll(ctx, "Who looks for the grid finds nothing", 4, append(checks, c))
}

// wireguardPorts are the ports on which WireGuard listens, as wg(8) tells on each
// node: that of the control network, and one a network.
func (d *gridDemo) wireguardPorts(ctx context.Context) (list []string, err error) {
	for _, n := range d.members {
		out, err := n.Run(ctx, "wg", "show", "all", "listen-port")
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(out) {
			port := strings.Fields(line)[1]
			if number, err := strconv.Atoi(port); err == nil && number > 0 && !slices.Contains(list, port) {
				list = append(list, port)
			}
		}
	}
	if len(list) < 2 {
		return nil, fmt.Errorf("wg shows the ports %v, want those of the control network and of %s", list, shop)
	}
	return list, nil
}
