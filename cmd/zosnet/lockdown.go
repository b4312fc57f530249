package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/zosnet/zosnet/pkg/api"
)

func lockdownCommand(o *options) *cobra.Command {
	return group(&cobra.Command{
		Use:     "lockdown",
		Short:   "Show or try what strangers may reach on the host",
		Example: "  zosnet lockdown show\n  zosnet lockdown try --for 60s -f node.yaml && zosnet lockdown confirm",
	}, lockdownShowCommand(o), lockdownTryCommand(o), lockdownConfirmCommand(o), lockdownEarlyCommand())
}

func lockdownShowCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:     "show",
		Short:   "Show what is in force, where, and what it dropped",
		Example: "  zosnet lockdown show",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(o, cmd, asking, (*api.Client).ShowLockdown, &api.ShowLockdownRequest{}, showLockdown)
		},
	}
}

func lockdownTryCommand(o *options) *cobra.Command {
	var file string
	var period time.Duration
	cmd := &cobra.Command{
		Use:   "try --for DURATION -f NODE.yaml",
		Short: "Put another lockdown in force until a deadline",
		Long: `Put the lockdown of another node.yaml in force, and take it back at the deadline
unless ` + "`zosnet lockdown confirm`" + ` follows. The deadline stands in the datapath: the
lockdown goes back also when this daemon, or the way to this node, is gone.`,
		Example: "  zosnet lockdown try --for 60s -f node.yaml",
		Args:    cobra.NoArgs,
		PreRunE: func(*cobra.Command, []string) error {
			if period < time.Second || period > time.Hour {
				return fmt.Errorf("--for %s: want from 1s to 1h", period)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			document, err := readDocument(file)
			if err != nil {
				return err
			}
			request := &api.TryLockdownRequest{Document: document, Seconds: uint32(period.Round(time.Second).Seconds())}
			return show(o, cmd, asking, (*api.Client).TryLockdown, request, func(w io.Writer, lockdown *api.Lockdown) {
				showLockdown(w, lockdown)
				fmt.Fprintln(w, "\nIf you can read this from where you must reach the node: zosnet lockdown confirm")
			})
		},
	}
	cmd.Flags().DurationVar(&period, "for", time.Minute, "how long, from 1s to 1h")
	cmd.Flags().StringVarP(&file, "filename", "f", "", "a node.yaml, of which only the lockdown counts")
	require(cmd, "filename")
	return cmd
}

func lockdownConfirmCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:     "confirm",
		Short:   "Keep the lockdown that is being tried",
		Example: "  zosnet lockdown confirm",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(o, cmd, asking, (*api.Client).ConfirmLockdown, &api.ConfirmLockdownRequest{}, showLockdown)
		},
	}
}

func showLockdown(w io.Writer, l *api.Lockdown) {
	switch l.InForce {
	case "trial":
		fmt.Fprintf(w, "A trial is in force until %s.\n", shortTime(l.Deadline))
	case "confirmed":
		fmt.Fprintln(w, "A confirmed trial is in force until the daemon rereads node.yaml: write it there.")
	default:
		fmt.Fprintln(w, "What node.yaml says is in force.")
	}
	fmt.Fprintln(w, "\nStrangers may reach on the host:")
	showAllow(w, l.Allow)
	if l.InForce != "document" {
		fmt.Fprintln(w, "\nnode.yaml would allow:")
		showAllow(w, l.Document)
	}
	fmt.Fprintln(w)
	showUplinks(w, l.Uplinks)
	if len(l.Drops) > 0 {
		fmt.Fprintln(w)
		showDrops(w, l.Drops)
	}
}

func showAllow(w io.Writer, allow []*api.LockdownAllow) {
	if len(allow) == 0 {
		fmt.Fprintln(w, "nothing")
		return
	}
	t := newTable(w, "from", "ports", "place")
	for _, a := range allow {
		t.AppendRow([]any{a.From, strings.Join(a.Ports, " "), orDash(a.Place)})
	}
	t.Render()
}
