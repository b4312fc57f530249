package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/zosnet/zosnet/pkg/api"
)

func networkDiffCommand(o *options) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "diff NETWORK",
		Short: "Show what a document changes, and on which node",
		Long: `Show what a document changes: against the one that is stored, in what it says and in
what each node would do. Without a file, what the network's last revision changed.`,
		Example:           "  zosnet network diff acme -f acme.yaml\n  zosnet network diff acme",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: o.names(networkName),
		RunE: func(cmd *cobra.Command, args []string) error {
			request := &api.DiffNetworkRequest{Network: args[0]}
			if file != "" {
				document, err := readDocument(file)
				if err != nil {
					return err
				}
				request.File, request.Text = document.File, document.Text
			}
			return show(o, cmd, "comparing", (*api.Client).DiffNetwork, request, showDiff)
		},
	}
	cmd.Flags().StringVarP(&file, "filename", "f", "", "a NETWORK.yaml to compare what is stored with")
	return cmd
}

func showDiff(w io.Writer, d *api.NetworkDiff) {
	if len(d.Document) == 0 && len(d.Changes) == 0 {
		fmt.Fprintln(w, "Nothing is different.")
	}
	if len(d.Document) > 0 {
		t := newTable(w, "document", "action", "detail")
		for _, c := range d.Document {
			t.AppendRow([]any{c.Part, c.Action, differenceText(c)})
		}
		t.Render()
	}
	if len(d.Changes) > 0 {
		fmt.Fprintln(w)
		showNodeChanges(w, d.Changes)
	}
	showNotes(w, d.Notes)
}

func differenceText(d *api.Difference) string {
	switch {
	case d.From == d.To, d.To == "":
		return d.From
	case d.From == "":
		return d.To
	}
	return d.From + " → " + d.To
}

func showNodeChanges(w io.Writer, changes []*api.NodeChange) {
	t := newTable(w, "node", "object", "action", "detail")
	for _, c := range changes {
		t.AppendRow([]any{c.Node, c.Object, c.Action, c.Detail})
	}
	t.Render()
}

func showNotes(w io.Writer, notes []string) {
	for i, note := range notes {
		if i == 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintln(w, note)
	}
}

func networkHistoryCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "history NETWORK",
		Short: "Show a network's last documents: who changed what, and when",
		Long: `Show a network's last documents, the newest first: who signed each, when it was stored
and what it changed. The grid's registry keeps the last eleven; -o json has their
texts.`,
		Example:           "  zosnet network history acme\n  zosnet network history acme -o json",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: o.names(networkName),
		RunE: func(cmd *cobra.Command, args []string) error {
			return show(o, cmd, asking, (*api.Client).ListRevisions, &api.ListRevisionsRequest{Network: args[0]}, showHistory)
		},
	}
}

func showHistory(w io.Writer, list *api.ListRevisionsResponse) {
	t := newTable(w, "revision", "applied", "owner", "change", "detail")
	for _, r := range list.Revisions {
		row := func(change, detail string) {
			t.AppendRow([]any{r.Revision, shortTime(r.Applied), r.Owner, change, detail})
		}
		switch {
		case r.Problem != "":
			row(bad("not believed"), r.Problem)
			continue
		case r.Released:
			row("released", "the network ended")
			continue
		case r.First:
			row("-", "the one before is not kept")
			continue
		case len(r.Changes) == 0:
			row("-", "says the same")
		}
		for i, c := range r.Changes {
			if i == 0 {
				row(c.Action+" "+c.Part, differenceText(c))
			} else {
				t.AppendRow([]any{"", "", "", c.Action + " " + c.Part, differenceText(c)})
			}
		}
	}
	t.Render()
}
