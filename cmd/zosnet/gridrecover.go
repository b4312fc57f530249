package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/zosnet/zosnet/pkg/api"
)

func gridRecoverCommand(o *options) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "recover",
		Short: "Go on with this member alone where most of the members are lost",
		Long: `Make this member the only one of the grid's registry, with all that it has, where
most of the members are gone for good and nothing can be changed any more. Without
--yes nothing is changed: it shows who answers and what this member has. It is
refused where a majority is still there.

What the lost members had agreed upon without this one is lost. They are members no
more when they come back. So never do it where they run and only this node is cut
off from them. Afterwards promote others, until there are three again.`,
		Example: "  zosnet grid recover\n  zosnet grid recover --yes",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := o.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			var r *api.RegistryRecovery
			err = progress(cmd, "asking the members", func() (err error) {
				r, err = client.RecoverRegistry(cmd.Context(), &api.RecoverRegistryRequest{Sure: yes})
				return err
			})
			if err != nil {
				return err
			}
			for _, warning := range r.Warnings {
				fmt.Fprintln(cmd.ErrOrStderr(), "warning:", warning)
			}
			if err := o.printRecovery(cmd, r); err != nil || r.Recovered {
				return err
			}
			return errors.New("nothing was changed. Only if those that are silent never come back: zosnet grid recover --yes")
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do it: those that are silent are gone for good")
	return cmd
}

func (o *options) printRecovery(cmd *cobra.Command, r *api.RegistryRecovery) error {
	return o.print(cmd, r, func(w io.Writer) {
		t := newTable(w, "member", "standing", "revision")
		for _, m := range r.Members {
			revision := "-"
			if m.Revision > 0 {
				revision = fmt.Sprint(m.Revision)
			}
			t.AppendRow([]any{m.Node, m.Standing, revision})
		}
		t.Render()
		if r.Recovered {
			fmt.Fprintf(w, "This member is the only one now, from revision %d on.\n", r.Revision)
			return
		}
		fmt.Fprintf(w, "This member has the registry up to revision %d; it was confirmed last at %s. What was agreed upon later would be lost.\n",
			r.Revision, shortTime(r.Confirmed))
	})
}
