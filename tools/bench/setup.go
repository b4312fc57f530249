package main

import (
	"context"
)

// setUp makes everything that is compared.
func (b *bench) setUp(ctx context.Context, path string) error {
	l, d, zosnet, err := b.zosnet(ctx, path)
	if err != nil {
		return err
	}
	locked, err := b.locked(ctx, l, d)
	if err != nil {
		return err
	}
	guarded, err := b.guarded(ctx)
	if err != nil {
		return err
	}
	plain, err := b.routed(ctx, "plain", "")
	if err != nil {
		return err
	}
	tracked, err := b.routed(ctx, "tracked", oneRule)
	if err != nil {
		return err
	}
	bridged, err := b.bridged(ctx, "bridged", tenRules())
	if err != nil {
		return err
	}
	cable, err := b.cable(ctx)
	if err != nil {
		return err
	}
	b.compareForwarding(zosnet, plain, tracked, bridged, cable)
	b.compareDrops(locked, guarded)
	return nil
}

func (b *bench) compareForwarding(zosnet, plain, tracked, bridged, cable *pair) {
	carriers := []struct {
		name string
		pair *pair
		aim  float64
	}{
		{"zosnet, 10 rules", zosnet, 0},
		{"kernel forwarding, no firewall", plain, 1.2},
		{"kernel forwarding, nftables with conntrack and 1 rule", tracked, 2},
		{"bridge, br_netfilter with conntrack and 10 rules", bridged, 5},
		{"a cable, nothing in between", cable, 0},
	}
	packets := &comparison{name: "64-byte UDP, 1,024 flows", unit: "Mpps"}
	streams := &comparison{name: "one TCP stream", unit: "Gbit/s"}
	for _, c := range carriers {
		packets.ways = append(packets.ways, &way{name: c.name, aim: c.aim, rate: func(context.Context) (float64, error) {
			return c.pair.packets(b.span)
		}})
		streams.ways = append(streams.ways, &way{name: c.name, rate: func(ctx context.Context) (float64, error) {
			return c.pair.stream(ctx, b.span)
		}})
	}
	packets.bare = packets.ways[len(packets.ways)-1]
	b.comparisons = append(b.comparisons, packets, streams)
}

func (b *bench) compareDrops(locked, guarded *flood) {
	b.comparisons = append(b.comparisons, &comparison{name: "drops of a stranger's packets", unit: "Mpps", ways: []*way{
		{name: "zosnet lockdown (XDP)", rate: func(context.Context) (float64, error) { return locked.drops(b.span) }},
		{name: "nftables netdev ingress", aim: 2.5, rate: func(context.Context) (float64, error) { return guarded.drops(b.span) }},
	}})
}
