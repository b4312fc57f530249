package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/zosnet/zosnet/pkg/api"
)

func statusCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:     "status",
		Short:   "Show how the node is; exit status 0 only when it is ready",
		Example: "  zosnet status\n  zosnet status -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := o.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			status, err := client.Status(cmd.Context(), &api.StatusRequest{})
			if err != nil {
				return err
			}
			if err := o.print(cmd, status, func(w io.Writer) { showStatus(w, status) }); err != nil {
				return err
			}
			if !status.Ready {
				return errPrinted
			}
			return nil
		},
	}
}

func showStatus(w io.Writer, s *api.StatusResponse) {
	ready := good("ready")
	if !s.Ready {
		ready = bad("not ready")
	}
	fmt.Fprintf(w, "Node       %s, %s\n", s.Node, ready)
	fmt.Fprintf(w, "Networks   %s\n", orDash(strings.Join(s.Networks, ", ")))
	fmt.Fprintf(w, "Workloads  %d\n", s.Workloads)
	fmt.Fprintf(w, "Prefixes   %s\n", orDash(strings.Join(s.Prefixes, ", ")))
	fmt.Fprintf(w, "Lockdown   by %s\n", s.Lockdown)
	if s.Grid != nil {
		fmt.Fprintf(w, "Grid       %s\n", registryText(s.Grid))
	}
	fmt.Fprintf(w, "Revision   %d, enforced %d since %s\n", s.Revision, s.AppliedRevision, shortTime(s.Applied))
	fmt.Fprintf(w, "Repairs    %d\n", s.Repairs)
	fmt.Fprintf(w, "Daemon     %s, since %s\n", s.Version, shortTime(s.Started))
	for _, problem := range s.Problems {
		fmt.Fprintf(w, "%s    %s\n", bad("Problem"), strings.ReplaceAll(problem, "\n", "\n           "))
	}
	fmt.Fprintln(w)
	showUplinks(w, s.Uplinks)
	showIgnored(w, s.Ignored)
}

// registryText tells how far a node knows its grid's registry.
func registryText(r *api.RegistryState) string {
	text := "known from its registry"
	switch r.Source {
	case "cache":
		text = "known from an earlier run"
	case "":
		return "nothing is known: " + r.Problem
	}
	text += ", confirmed " + shortTime(r.Confirmed)
	if r.Problem != "" {
		text += "; " + bad("the registry cannot be followed") + ": " + r.Problem
	}
	return text
}

// mostIgnored bounds what a table shows of what is left out; -o json shows all.
const mostIgnored = 20

func showIgnored(w io.Writer, ignored []*api.Ignored) {
	if len(ignored) == 0 {
		return
	}
	fmt.Fprintln(w)
	t := newTable(w, "left out", "because")
	for _, i := range ignored[:min(len(ignored), mostIgnored)] {
		t.AppendRow([]any{i.Object, i.Reason})
	}
	t.Render()
	if more := len(ignored) - mostIgnored; more > 0 {
		fmt.Fprintf(w, "and %d more: see -o json\n", more)
	}
}

func showUplinks(w io.Writer, uplinks []*api.Uplink) {
	t := newTable(w, "uplink", "hook", "mode")
	for _, u := range uplinks {
		mode := u.Mode
		if mode == "missing" {
			mode = bad(mode)
		}
		t.AppendRow([]any{u.Name, u.Hook, mode})
	}
	t.Render()
}
