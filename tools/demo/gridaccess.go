package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
)

// alice is the person's device, and demo-alice its interface: without WireGuard in the
// kernel, such devices share their sockets, whatever namespace they are in.
const (
	alice          = "alice"
	aliceInterface = "demo-alice"
)

// aliceFile is what her laptop is told.
func aliceFile(g *lab.Grid) string { return g.Path("laptop/" + aliceInterface + ".conf") }

// join lets a person in from her laptop, which is behind another NAT, and takes her
// access away under a running transfer.
func (d *gridDemo) join(ctx context.Context) error {
	web, api, db := d.members[0], d.members[1], d.members[2]
	file := aliceFile(d.grid)
	err := d.runAll(ctx, "Alice joins from her laptop", 1, []check{
		{what: "you$ zosnet access add alice --allow web,db --network shop, at n2", want: "a configuration", run: func(ctx context.Context) (string, string, error) {
			return timed("a configuration", func() error {
				config, err := api.CLI(ctx, "access", "add", alice, "--network", shop, "--allow", "web,db", "--key", d.owner)
				if err != nil {
					return err
				}
				return os.WriteFile(file, []byte(config), 0o600)
			})
		}},
		{what: "laptop$ wg-quick up alice.conf, from behind NAT", want: "up", run: func(ctx context.Context) (string, string, error) {
			return timed("up", func() error {
				_, err := d.grid.Laptop.Run(ctx, "wg-quick", "up", file)
				return err
			})
		}},
		{what: "her laptop asks for web.shop.internal", want: web.workload.Address.String(), run: func(ctx context.Context) (string, string, error) {
			found, err := probe.Resolve(ctx, d.grid.Laptop, "web."+shop+".internal")
			return found, "", err
		}},
		d.aliceGets(web, probe.Answered),
		d.aliceGets(api, probe.Silent),
		d.aliceGets(db, probe.Answered),
	})
	if err != nil {
		return err
	}
	return d.revoke(ctx)
}

// aliceGets fetches a page over the tunnel.
func (d *gridDemo) aliceGets(from *member, want probe.Outcome) check {
	return check{
		what: fmt.Sprintf("alice → %s-1 on %s, tcp/%d", from.service, from.Name, from.port), want: string(want),
		run: func(ctx context.Context) (string, string, error) {
			_, outcome, err := probe.Get(ctx, d.grid.Laptop, from.at(), d.bound(want, patient))
			return string(outcome), "", err
		},
	}
}

func (d *gridDemo) revoke(ctx context.Context) error {
	web, db := d.members[0], d.members[2]
	// A stream that takes the whole processor of a slow machine takes it from the nodes.
	stream, err := probe.StartPacedStream(ctx, d.grid.Laptop, db.workload.Machine, netip.AddrPortFrom(db.workload.Address, bulkPort),
		probe.ServerSends, d.slow(probe.Pace))
	if err != nil {
		return err
	}
	defer stream.Stop()
	if err := stream.WaitProgress(ctx, 100_000); err != nil {
		return err
	}
	err = d.runAll(ctx, "Her access is taken away", 1, []check{
		{what: "you$ zosnet access revoke alice: her running transfer from n3", want: d.stopped(), run: func(ctx context.Context) (string, string, error) {
			return d.stops(ctx, stream, func() error {
				_, err := d.members[1].CLI(ctx, "access", "revoke", alice, "--network", shop, "--key", d.owner)
				return err
			})
		}},
		d.silence("alice → shop/web-1", d.grid.Laptop, web.at()),
		d.get("outside → shop/web-1", d.grid.Outside, web.at()),
	})
	if err != nil {
		return err
	}
	_, err = d.grid.Laptop.Run(ctx, "wg-quick", "down", aliceFile(d.grid))
	return err
}
