package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/spec"
)

func applyCommand(o *options) *cobra.Command {
	var files []string
	var key string
	request := &api.ApplyRequest{}
	cmd := &cobra.Command{
		Use:   "apply -f FILE...",
		Short: "Store NETWORK.yaml documents and enforce them",
		Long: `Store NETWORK.yaml documents, all or none, and return once this node enforces
them. A document that is wrong changes nothing: every problem is named with its
file, line and column. In a grid each is signed as its owner's next revision, and
reaches every node that it names.`,
		Example: "  zosnet apply -f acme.yaml\n  zosnet apply --dry-run -f acme.yaml -f beta.yaml",
		Args:    cobra.ArbitraryArgs, // apply -f a.yaml b.yaml, as a shell expands *.yaml
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, file := range append(files, args...) {
				document, err := readDocument(file)
				if err != nil {
					return err
				}
				request.Documents = append(request.Documents, document)
			}
			client, err := o.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			owner := &signer{client: client, file: key}
			for _, document := range request.Documents {
				if err := owner.signDocument(cmd.Context(), document); err != nil {
					return err
				}
			}
			var response *api.ApplyResponse
			err = progress(cmd, "applying", func() (err error) {
				response, err = client.Apply(cmd.Context(), request)
				return err
			})
			if err != nil {
				return err
			}
			for _, warning := range response.Warnings {
				fmt.Fprintln(cmd.ErrOrStderr(), "warning:", warning)
			}
			return o.print(cmd, response, func(w io.Writer) { showApplied(w, response) })
		},
	}
	cmd.Flags().StringArrayVarP(&files, "filename", "f", nil, "a NETWORK.yaml; again for more")
	cmd.Flags().StringVar(&key, "key", defaultKeyFile(), "the owner's key, which signs in a grid; also $ZOSNET_KEY")
	cmd.Flags().BoolVar(&request.DryRun, "dry-run", false, "only say what would change")
	cmd.Flags().BoolVar(&request.Force, "force", false, "detach workloads whose service or node goes")
	if err := cmd.MarkFlagRequired("filename"); err != nil {
		panic(err)
	}
	return cmd
}

// readDocument reads a file under its absolute name: the daemon's messages,
// also later ones, name it, and they are read in other directories.
func readDocument(file string) (*api.Document, error) {
	text, err := spec.ReadText(file)
	if err != nil {
		return nil, &badDocument{err}
	}
	path, err := filepath.Abs(file)
	if err != nil {
		return nil, &badDocument{err}
	}
	return &api.Document{File: path, Text: text}, nil
}

func showApplied(w io.Writer, r *api.ApplyResponse) {
	t := newTable(w, "network", "prefix", "document")
	for _, n := range r.Networks {
		t.AppendRow([]any{n.Network, orDash(n.Prefix), n.Action})
	}
	t.Render()
	if len(r.Detached) > 0 {
		fmt.Fprintf(w, "\nDetached: %s\n", strings.Join(r.Detached, ", "))
	}
	if !r.DryRun {
		return
	}
	if len(r.Changes) == 0 {
		fmt.Fprintln(w, "\nNothing would change here.")
	} else {
		fmt.Fprintln(w, "\nWould change here:")
		t = newTable(w, "object", "action", "detail")
		for _, c := range r.Changes {
			t.AppendRow([]any{c.Object, c.Action, c.Detail})
		}
		t.Render()
	}
	if len(r.Elsewhere) > 0 {
		fmt.Fprintln(w, "\nWould change on other nodes:")
		showNodeChanges(w, r.Elsewhere)
	}
	showNotes(w, r.Notes)
}
