package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/term"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
)

// check is one line of the table before it has been run.
type check struct {
	what   string
	want   string
	reason string // the drop reason that it must show, if any

	run     func(ctx context.Context) (got, detail string, err error)
	drop    func(lab.Drop) bool // tells its drops from others'
	monitor *lab.Monitor        // that sees it, of the node where it happens
}

// result is one line of the table.
type result struct {
	what         string
	want, got    string
	detail       string
	reason, seen string // drop reason: expected, observed
	err          error
}

func (r result) ok() bool { return r.err == nil && r.want == r.got && r.reason == r.seen }

// section is a part of the table.
type section struct {
	title   string
	results []result
}

func count(all []section) int {
	n := 0
	for _, s := range all {
		n += len(s.results)
	}
	return n
}

// board is the table while it fills.
type board struct {
	pace     int // 1; more where the machine is so many times slower than others
	sections []section
}

// slow is how long what takes that long elsewhere may take here.
func (b *board) slow(elsewhere time.Duration) time.Duration {
	return elsewhere * time.Duration(b.pace)
}

// still is for how long nothing must happen, to know that nothing does.
func (b *board) still(elsewhere time.Duration) time.Duration {
	const enough = 3
	return elsewhere * time.Duration(min(b.pace, enough))
}

// bound is how long a try may take that is answered in time elsewhere, by what is
// expected of it.
func (b *board) bound(want probe.Outcome, elsewhere time.Duration) time.Duration {
	if want == probe.Silent {
		return b.still(within)
	}
	return b.slow(elsewhere)
}

// dropWithin is how long after its packet a drop may show up in the monitor.
const dropWithin = 3 * time.Second

// runAll runs the checks, at most parallel at a time, in the table's order.
func (b *board) runAll(ctx context.Context, title string, parallel int, checks []check) error {
	progress(title, len(checks))
	results := make([]result, len(checks))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i, c := range checks {
		group.Go(func() error {
			results[i] = c.observe(ctx, b.slow(dropWithin))
			return ctx.Err()
		})
	}
	err := group.Wait()
	b.sections = append(b.sections, section{title, results})
	return err
}

func (c check) observe(ctx context.Context, dropWithin time.Duration) result {
	r := result{what: c.what, want: c.want, reason: c.reason}
	r.got, r.detail, r.err = c.run(ctx)
	if c.reason == "" || r.err != nil {
		return r
	}
	ctx, cancel := context.WithTimeout(ctx, dropWithin)
	defer cancel()
	drop, err := c.monitor.Wait(ctx, c.drop)
	if err != nil {
		r.seen = "none in the monitor"
		return r
	}
	r.seen = drop.Reason
	return r
}

// within bounds a try: long enough for a lost SYN to be sent again.
const within = 1500 * time.Millisecond

// progress tells a person who waits what is going on.
func progress(what string, lines int) {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return
	}
	if lines > 0 {
		what += ": " + plural(lines, "line", "lines")
	}
	_, _ = fmt.Fprintf(os.Stderr, "… %s\n", what)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return fmt.Sprintf("1 %s", one)
	}
	return fmt.Sprintf("%d %s", n, many)
}
