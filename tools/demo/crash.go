package main

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
)

// crash kills the daemon under a running transfer and a numbered flow, and
// starts it again.
func (d *demo) crash(ctx context.Context) error {
	const rate = 1000
	sequence, err := probe.StartSequence(ctx, d.web.Machine, d.db.Machine, netip.AddrPortFrom(d.db.Address, bulkPort), rate)
	if err != nil {
		return err
	}
	stream, err := probe.StartStream(ctx, d.web.Machine, d.db.Machine, netip.AddrPortFrom(d.db.Address, bulkPort), probe.ClientSends)
	if err != nil {
		_, _ = sequence.Stop()
		return err
	}
	defer stream.Stop()
	web := netip.AddrPortFrom(d.web.Address, webPort)
	closed := netip.AddrPortFrom(d.db.Address, dbPort)
	transfer := func(ctx context.Context) (string, string, error) { return d.flows(ctx, stream) }
	return d.runAll(ctx, "The daemon is killed, and starts again", 1, []check{
		{what: "kill -9 the daemon: a running transfer", want: flowing, run: func(ctx context.Context) (string, string, error) {
			if err := d.daemon.Kill(); err != nil {
				return "", "", err
			}
			return d.flows(ctx, stream)
		}},
		d.get("without a daemon, outside → acme/web-1", d.lab.Outside, web),
		d.silence("without a daemon, outside → acme/db-1", d.lab.Outside, closed),
		d.silence("without a daemon, outside → the node", d.lab.Outside, netip.AddrPortFrom(lab.NodeIPv6, 22)),
		d.silence("without a daemon, globex/api-1 → acme/db-1", d.api.Machine, closed),
		{what: "the daemon starts again", want: "ready", run: d.startAgain},
		{what: "the running transfer", want: flowing, run: transfer},
		d.get("outside → acme/web-1", d.lab.Outside, web),
		{what: fmt.Sprintf("%d numbered datagrams a second through it all", rate), want: "none lost", run: func(context.Context) (string, string, error) {
			r, err := sequence.Stop()
			if r.Lost > 0 || r.Duplicates > 0 {
				return fmt.Sprintf("%d lost, %d twice", r.Lost, r.Duplicates), fmt.Sprintf("of %d", r.Sent), err
			}
			return "none lost", fmt.Sprintf("of %d", r.Sent), err
		}},
	})
}

func (b *board) silence(what string, from *lab.Machine, to netip.AddrPort) check {
	return check{
		what: fmt.Sprintf("%s, %v", what, to),
		want: string(probe.Silent),
		run: func(ctx context.Context) (string, string, error) {
			outcome, err := probe.Connect(ctx, from, to, b.still(within))
			return string(outcome), "", err
		},
	}
}

func (d *demo) startAgain(ctx context.Context) (string, string, error) {
	began := time.Now()
	if err := d.daemon.Start(ctx); err != nil {
		return "", "", err
	}
	return "ready", fmt.Sprintf("after %v", time.Since(began).Round(time.Millisecond)), nil
}
