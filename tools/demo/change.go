package main

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/zosnet/zosnet/test/probe"
)

const (
	stopped  = "stopped within 1s"
	flowing  = "flows on"
	let      = "let in within 1s"
	onTime   = time.Second
	stallFor = 700 * time.Millisecond
)

// changeOfRules takes a rule away under running transfers and gives it back.
func (d *demo) changeOfRules(ctx context.Context) error {
	mine, err := probe.StartStream(ctx, d.web.Machine, d.db.Machine, netip.AddrPortFrom(d.db.Address, bulkPort), probe.ServerSends)
	if err != nil {
		return err
	}
	defer mine.Stop()
	theirs, err := probe.StartStream(ctx, d.api.Machine, d.store.Machine, netip.AddrPortFrom(d.store.Address, bulkPort), probe.ClientSends)
	if err != nil {
		return err
	}
	defer theirs.Stop()
	if err := mine.WaitProgress(ctx, 100_000); err != nil {
		return err
	}
	return d.runAll(ctx, "A rule changes while transfers run", 1, []check{
		{what: "acme takes a rule away: its own transfer", want: stopped, run: func(ctx context.Context) (string, string, error) {
			return stops(ctx, mine, func() error { return d.daemon.Apply(ctx, acmeClosed) })
		}},
		{what: "meanwhile globex's transfer", want: flowing, run: func(ctx context.Context) (string, string, error) {
			return flows(ctx, theirs)
		}},
		{what: "a new connection by that rule", want: string(probe.Silent), run: func(ctx context.Context) (string, string, error) {
			return d.connect(ctx, netip.AddrPortFrom(d.db.Address, bulkPort))
		}},
		{what: "acme gives the rule back: a new connection", want: let, run: d.letsIn},
		{what: "meanwhile globex's transfer", want: flowing, run: func(ctx context.Context) (string, string, error) {
			return flows(ctx, theirs)
		}},
	})
}

// stops says whether a transfer stops soon after a change.
func stops(ctx context.Context, s *probe.Stream, change func() error) (string, string, error) {
	began := time.Now()
	if err := change(); err != nil {
		return "", "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	last, err := s.WaitStall(ctx, stallFor)
	if err != nil {
		return "flows on", "", nil
	}
	// The last byte may have come before the change began.
	after := max(last.Sub(began), 0)
	if after > onTime {
		return "stopped late", after.String(), nil
	}
	return stopped, fmt.Sprintf("%v after the command began", after.Round(time.Millisecond)), nil
}

func flows(ctx context.Context, s *probe.Stream) (string, string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := s.WaitProgress(ctx, 200_000); err != nil {
		return "stopped", err.Error(), nil
	}
	return flowing, fmt.Sprintf("%d kB so far", s.Bytes()/1000), nil
}

func (d *demo) connect(ctx context.Context, to netip.AddrPort) (string, string, error) {
	outcome, err := probe.Connect(ctx, d.web.Machine, to, within)
	return string(outcome), "", err
}

func (d *demo) letsIn(ctx context.Context) (string, string, error) {
	began := time.Now()
	if err := d.daemon.Apply(ctx, acmeDocument); err != nil {
		return "", "", err
	}
	outcome, err := probe.Connect(ctx, d.web.Machine, netip.AddrPortFrom(d.db.Address, bulkPort), onTime)
	took := time.Since(began)
	if err != nil || outcome != probe.Answered || took > onTime {
		return string(outcome), took.String(), err
	}
	return let, took.Round(time.Millisecond).String(), nil
}
