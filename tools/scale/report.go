package main

import (
	"fmt"
	"io"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// print gives the report as one table.
func (r *report) print(w io.Writer) {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	t.AppendHeader(table.Row{fmt.Sprintf("%d nodes, %d networks over %d each, %d changes/s", r.nodes, r.networks, r.span, r.rate), "p50", "p99", "max"})
	for _, row := range []struct {
		what string
		of   func(*change) time.Duration
	}{
		{"apply until stored", func(c *change) time.Duration { return c.stored }},
		{"until heard by the last node", func(c *change) time.Duration { return c.heard }},
		{"until planned by the last node", func(c *change) time.Duration { return c.planned }},
	} {
		list := timesOf(r.whole, row.of)
		t.AppendRow(table.Row{row.what, ms(list.at(0.5)), ms(list.at(0.99)), ms(list.at(1))})
	}
	for _, at := range []struct {
		when string
		window
	}{{"idle", r.idle}, {"busy", r.busy}} {
		t.AppendSeparator()
		t.AppendRow(table.Row{"to a node, " + at.when + ", bytes/s", at.rate(at.sent, 0.5), at.rate(at.sent, 0.99), at.rate(at.sent, 1)})
		t.AppendRow(table.Row{"from a node, " + at.when + ", bytes/s", at.rate(at.received, 0.5), at.rate(at.received, 0.99), at.rate(at.received, 1)})
		t.AppendRow(table.Row{"events/s to a node, " + at.when + ", mean", fmt.Sprintf("%.2f", at.events/at.period.Seconds()/float64(r.nodes))})
		t.AppendRow(table.Row{"processors busy, " + at.when + ": registry", fmt.Sprintf("%.2f", at.member.Processor.Seconds()/at.period.Seconds())})
		t.AppendRow(table.Row{"processors busy, " + at.when + ": all nodes", fmt.Sprintf("%.2f", at.nodes.Seconds()/at.period.Seconds())})
	}
	t.AppendSeparator()
	t.AppendRow(table.Row{"changes planned by all, late, not stored", len(r.whole), r.late, r.failed})
	t.AppendRow(table.Row{"changes left out: the network had one under way", r.skipped})
	t.AppendRow(table.Row{"all nodes start at once without a cache, s", fmt.Sprintf("%.0f", r.cold.period.Seconds())})
	t.AppendRow(table.Row{"of a processor meanwhile, s: registry", fmt.Sprintf("%.0f", r.cold.member.Processor.Seconds())})
	t.AppendRow(table.Row{"of a processor meanwhile, s: all nodes", fmt.Sprintf("%.0f", r.cold.nodes.Seconds())})
	t.AppendRow(table.Row{"one plan of a node, ms", fmt.Sprintf("%.2f", float64(r.plan.Microseconds())/1000/float64(max(1, r.plans)))})
	t.AppendRow(table.Row{"ranges watched by a node, mean", fmt.Sprintf("%.0f", r.busy.member.Ranges/float64(r.nodes))})
	t.AppendRow(table.Row{"memory of a node's snapshot, kB", r.ofSnapshot >> 10})
	t.AppendRow(table.Row{"memory of a node's plan, kB", r.ofPlan >> 10})
	t.AppendRow(table.Row{"memory of all nodes, GB", fmt.Sprintf("%.1f", float64(r.busy.resident)/(1<<30))})
	t.AppendRow(table.Row{"registry's database, MB", fmt.Sprintf("%.1f", r.busy.member.Database/(1<<20))})
	t.AppendRow(table.Row{"registry's memory, MB", r.busy.member.Resident >> 20})
	t.Render()
}

func ms(d time.Duration) string { return fmt.Sprintf("%.0f ms", float64(d.Microseconds())/1000) }

// rate gives a quantile of bytes a second.
func (w window) rate(list []uint64, q float64) string {
	if len(list) == 0 {
		return "-"
	}
	at := list[min(len(list)-1, int(q*float64(len(list))))]
	return fmt.Sprintf("%.0f", float64(at)/w.period.Seconds())
}
