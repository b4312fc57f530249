package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/loader"
)

func doctorCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Show what this kernel and machine offer, what is missing, what to do",
		Long: `Show what this kernel and machine offer, what is missing and what to do about it,
by trying each thing. Exit status 1 where something is missing that is needed.`,
		Example: "  sudo zosnet doctor\n  sudo zosnet doctor -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			diagnosis := &api.Diagnosis{Healthy: true}
			for _, f := range loader.Probe() {
				diagnosis.Features = append(diagnosis.Features, &api.Feature{
					Name: f.Name, Present: f.Present, Needed: f.Needed, Detail: f.Detail, Advice: f.Advice,
				})
				diagnosis.Healthy = diagnosis.Healthy && (f.Present || !f.Needed)
			}
			if err := o.print(cmd, diagnosis, func(w io.Writer) { showDiagnosis(w, diagnosis) }); err != nil {
				return err
			}
			if !diagnosis.Healthy {
				return errPrinted
			}
			return nil
		},
	}
}

func showDiagnosis(w io.Writer, d *api.Diagnosis) {
	t := newTable(w, "", "feature", "detail", "what to do")
	for _, f := range d.Features {
		mark := good("ok")
		switch {
		case !f.Present && f.Needed:
			mark = bad("missing")
		case !f.Present:
			mark = "absent"
		}
		t.AppendRow([]any{mark, f.Name, f.Detail, f.Advice})
	}
	t.Render()
	if !d.Healthy {
		fmt.Fprintln(w, "\nThis machine cannot run zosnet until what is missing is there.")
	}
}
