package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
)

// bench is everything that is set up and compared.
type bench struct {
	span        time.Duration
	comparisons []*comparison
	undo        []func() error
}

// comparison is one question: how much faster is the first of its ways than each
// of the others?
type comparison struct {
	name string
	unit string
	ways []*way
	bare *way // what measuring costs by itself; nil: not known
}

// way is one way to carry packets, or to drop them.
type way struct {
	name    string
	aim     float64 // how much faster than it zosnet should be; 0: no aim
	rate    func(context.Context) (float64, error)
	results []float64 // by round, in the comparison's unit
}

// measure is one round.
func (c *comparison) measure(ctx context.Context) error {
	for _, w := range c.ways {
		if err := ctx.Err(); err != nil {
			return err
		}
		rate, err := w.rate(ctx)
		if err != nil {
			return fmt.Errorf("%s, %s: %w", c.name, w.name, err)
		}
		w.results = append(w.results, rate)
	}
	return nil
}

// print writes the ratios within each round: their median, and between which two
// half of them lie.
func (b *bench) print(w io.Writer) {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"measured", "way", "median rate", "zosnet is", "half of the rounds", "less the cable", "aim"})
	for _, c := range b.comparisons {
		first := c.ways[0]
		for _, each := range c.ways {
			row := table.Row{c.name, each.name, fmt.Sprintf("%.2f %s", quantile(each.results, 0.5), c.unit)}
			if each != first {
				ratios := ratios(first.results, each.results)
				row = append(row, fmt.Sprintf("%.2f×", quantile(ratios, 0.5)),
					fmt.Sprintf("%.2f to %.2f", quantile(ratios, 0.25), quantile(ratios, 0.75)))
			} else {
				row = append(row, "", "")
			}
			row = append(row, c.lessBare(each))
			if each.aim > 0 {
				row = append(row, fmt.Sprintf("≥ %.1f×", each.aim))
			}
			t.AppendRow(row)
		}
		t.AppendSeparator()
	}
	t.Render()
}

// lessBare is how much less time than a way zosnet takes for a packet, when what
// measuring takes is left out of both.
func (c *comparison) lessBare(w *way) string {
	if c.bare == nil || w == c.bare || w == c.ways[0] {
		return ""
	}
	list := make([]float64, len(w.results))
	for i, bare := range c.bare.results {
		list[i] = (1/w.results[i] - 1/bare) / (1/c.ways[0].results[i] - 1/bare)
	}
	return fmt.Sprintf("%.1f×", quantile(list, 0.5))
}

func ratios(a, b []float64) []float64 {
	list := make([]float64, len(a))
	for i := range a {
		list[i] = a[i] / b[i]
	}
	return list
}

// quantile gives the value that a part of all values lie below.
func quantile(values []float64, part float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(math.Round(part*float64(len(sorted)-1)))]
}

// after has something undone when the bench ends, last things first.
func (b *bench) after(undo func() error) { b.undo = append(b.undo, undo) }

func (b *bench) close() error {
	var errs []error
	for _, undo := range slices.Backward(b.undo) {
		errs = append(errs, undo())
	}
	return errors.Join(errs...)
}
