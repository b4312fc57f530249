package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/zosnet/zosnet/test/lab"
)

// check is one line of the table before it has been run.
type check struct {
	what   string
	want   string
	reason string // the drop reason that it must show, if any

	run  func(ctx context.Context) (got, detail string, err error)
	drop func(lab.Drop) bool // tells its drops from others'
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

// dropWithin is how long after its packet a drop may show up in the monitor.
const dropWithin = 3 * time.Second

// runAll runs the checks, at most parallel at a time, in the table's order.
func (d *demo) runAll(ctx context.Context, title string, parallel int, checks []check) error {
	d.progress(title, len(checks))
	results := make([]result, len(checks))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i, c := range checks {
		group.Go(func() error {
			results[i] = d.runOne(ctx, c)
			return ctx.Err()
		})
	}
	err := group.Wait()
	d.sections = append(d.sections, section{title, results})
	return err
}

func (d *demo) runOne(ctx context.Context, c check) result {
	r := result{what: c.what, want: c.want, reason: c.reason}
	r.got, r.detail, r.err = c.run(ctx)
	if c.reason == "" || r.err != nil {
		return r
	}
	ctx, cancel := context.WithTimeout(ctx, dropWithin)
	defer cancel()
	drop, err := d.monitor.Wait(ctx, c.drop)
	if err != nil {
		r.seen = "none in the monitor"
		return r
	}
	r.seen = drop.Reason
	return r
}

// within bounds a try: long enough for a lost SYN to be sent again.
const within = 1500 * time.Millisecond

func plural(n int, one, many string) string {
	if n == 1 {
		return fmt.Sprintf("1 %s", one)
	}
	return fmt.Sprintf("%d %s", n, many)
}
