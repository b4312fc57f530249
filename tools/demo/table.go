package main

import (
	"fmt"
	"io"
	"os"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"
)

// printTable prints every section, with colours where a person looks at it.
func printTable(out io.Writer, all []section) {
	if file, ok := out.(*os.File); !ok || !term.IsTerminal(int(file.Fd())) {
		text.DisableColors()
	}
	t := table.NewWriter()
	t.SetOutputMirror(out)
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	t.SetColumnConfigs([]table.ColumnConfig{{Number: 4, WidthMax: 72, WidthMaxEnforcer: text.Trim}})
	t.AppendHeader(table.Row{"", "What", "Expected", "Observed", "Drop reason"})
	for _, s := range all {
		t.AppendSeparator()
		t.AppendRow(table.Row{"", text.Bold.Sprint(s.title)})
		for _, r := range s.results {
			t.AppendRow(r.row())
		}
	}
	t.Render()
	for _, s := range all {
		for _, r := range s.results {
			if r.err != nil {
				_, _ = fmt.Fprintf(out, "%s: %s: %v\n", s.title, r.what, r.err)
			}
		}
	}
}

func (r result) row() table.Row {
	mark := text.FgGreen.Sprint("✓")
	if !r.ok() {
		mark = text.FgRed.Sprint("✗")
	}
	observed := r.got
	if r.detail != "" {
		observed += " (" + r.detail + ")"
	}
	if r.err != nil {
		observed = text.FgRed.Sprint("see below")
	}
	reason := r.seen
	if r.reason != r.seen {
		reason = text.FgRed.Sprintf("%s, expected %s", r.seen, r.reason)
	}
	return table.Row{mark, r.what, r.want, observed, reason}
}

// printTour prints what to try in a demo that was kept.
func printTour(out io.Writer, l labs) {
	_, _ = fmt.Fprintf(out, `
Everything is still running. To look around, as root:

  export PATH=$PWD/build:$PATH ZOSNET_SOCKET=%[2]s
  zosnet status
  zosnet network show acme
  zosnet trace --from acme/db --to acme/web --tcp 80
  zosnet monitor --drops
  zosnet lab exec %[1]s outside -- nmap -n -Pn --top-ports 100 192.0.2.10
  zosnet lab exec %[1]s acme.web-1 -- ping -c1 2001:db8:2::2
  zosnet lab exec %[1]s node -- ip -6 route
  bpftool map dump pinned %[3]s/maps/bindings

and among the three nodes of the grid, on each of which zosnet talks to its own daemon:

  zosnet lab exec %[4]s n1 -- zosnet grid show
  zosnet lab exec %[4]s n3 -- zosnet network show shop
  zosnet lab exec %[4]s n2 -- ip -6 route
  zosnet lab exec %[4]s n2 -- wg show
  zosnet lab exec %[4]s n2 -- zosnet access add alice --network shop --allow web,db --key %[5]s > %[6]s
  zosnet lab exec %[4]s laptop -- wg-quick up %[6]s
  zosnet lab exec %[4]s laptop -- curl http://web.shop.internal/
  zosnet lab down %[1]s %[4]s        # the end of it
`, l.node.Name(), l.node.Path("run/zosnet.sock"), l.node.Path("bpf"), l.grid.Name(),
		l.grid.Path("owner.key"), aliceFile(l.grid))
}
