package main

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/zosnet/zosnet/test/probe"
)

const (
	flowing  = "flows on"
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
		{what: "acme takes a rule away: its own transfer", want: d.stopped(), run: func(ctx context.Context) (string, string, error) {
			return d.stops(ctx, mine, func() error { return d.daemon.Apply(ctx, acmeClosed) })
		}},
		{what: "meanwhile globex's transfer", want: flowing, run: func(ctx context.Context) (string, string, error) {
			return d.flows(ctx, theirs)
		}},
		{what: "a new connection by that rule", want: string(probe.Silent), run: func(ctx context.Context) (string, string, error) {
			return d.connect(ctx, netip.AddrPortFrom(d.db.Address, bulkPort))
		}},
		{what: "acme gives the rule back: a new connection", want: d.let(), run: d.letsIn},
		{what: "meanwhile globex's transfer", want: flowing, run: func(ctx context.Context) (string, string, error) {
			return d.flows(ctx, theirs)
		}},
	})
}

func (b *board) stopped() string { return fmt.Sprintf("stopped within %v", b.slow(onTime)) }

func (b *board) let() string { return fmt.Sprintf("let in within %v", b.slow(onTime)) }

// stops says whether a transfer stops soon after a change.
func (b *board) stops(ctx context.Context, s *probe.Stream, change func() error) (string, string, error) {
	began := time.Now()
	if err := change(); err != nil {
		return "", "", err
	}
	ctx, cancel := context.WithTimeout(ctx, b.slow(5*time.Second))
	defer cancel()
	last, err := s.WaitStall(ctx, b.still(stallFor))
	if err != nil {
		return "flows on", "", nil
	}
	// The last byte may have come before the change began.
	after := max(last.Sub(began), 0)
	if after > b.slow(onTime) {
		return "stopped late", after.String(), nil
	}
	return b.stopped(), fmt.Sprintf("%v after the command began", after.Round(time.Millisecond)), nil
}

func (b *board) flows(ctx context.Context, s *probe.Stream) (string, string, error) {
	ctx, cancel := context.WithTimeout(ctx, b.slow(2*time.Second))
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
	outcome, err := probe.Connect(ctx, d.web.Machine, netip.AddrPortFrom(d.db.Address, bulkPort), d.slow(onTime))
	took := time.Since(began)
	if err != nil || outcome != probe.Answered || took > d.slow(onTime) {
		return string(outcome), took.String(), err
	}
	return d.let(), took.Round(time.Millisecond).String(), nil
}
