package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/test/lab"
)

// labCommand is `zosnet lab`: whole machines out of network namespaces, with
// a real daemon on one of them.
func labCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "Make a node, a router and outside hosts out of network namespaces",
		Long: `Make whole machines out of network namespaces, with the real daemon on one:

  outside, friend ── router ── node (and lan, on the node's own segment)

  node     192.0.2.10    2001:db8:1::10   runs the daemon, holds 2001:db8:aaaa::/48
  lan      192.0.2.20    2001:db8:1::20
  router   192.0.2.1     2001:db8:1::1
  outside  198.51.100.2  2001:db8:2::2
  friend   198.51.100.3  2001:db8:2::3

or, with --grid, three nodes that know nothing of each other yet, one of them and
a laptop behind NAT at home:

  n1       192.0.2.101   2001:db8:1::65   holds 2001:db8:aaaa::/48
  n2       192.0.2.102   2001:db8:1::66   holds 2001:db8:bbbb::/48
  n3       10.0.3.2                       dials out; holds no prefix
  laptop   10.0.90.2
  outside  198.51.100.2  2001:db8:2::2

Nothing of the machine it runs on is touched. Needs root and nsenter.`,
		Example: "  sudo zosnet lab up try\n  sudo zosnet lab exec try outside -- ping -c1 2001:db8:1::1\n  sudo zosnet lab down try",
	}
	cmd.AddCommand(labUpCommand(), labDownCommand(), labListCommand(o), labExecCommand())
	return cmd
}

func labUpCommand() *cobra.Command {
	grid := false
	cmd := &cobra.Command{
		Use:     "up NAME",
		Short:   "Make a lab and start its daemons",
		Example: "  sudo zosnet lab up try\n  sudo zosnet lab up try --grid",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			self, err := os.Executable()
			if err != nil {
				return err
			}
			up, node := lab.Up, "node"
			if grid {
				up, node = lab.UpGrid, "n1"
			}
			err = progress(cmd, "making the lab", func() error { return up(cmd.Context(), args[0], self) })
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), `lab %[1]s is up. For example:
  zosnet lab exec %[1]s %[2]s -- zosnet status
  zosnet lab exec %[1]s outside -- ping -c1 2001:db8:1::1
  zosnet lab down %[1]s
`, args[0], node)
			return err
		},
	}
	cmd.Flags().BoolVar(&grid, "grid", false, "three nodes and a laptop, instead of one node")
	return cmd
}

func labDownCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "down NAME...",
		Short:   "End the processes of a lab and remove all it made",
		Example: "  sudo zosnet lab down try",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			var errs []error
			for _, name := range args {
				errs = append(errs, lab.Down(name))
			}
			return errors.Join(errs...)
		},
	}
}

func labListCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "Show the labs of this machine",
		Example: "  sudo zosnet lab ls",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			labs, err := lab.List()
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			switch o.format {
			case "json":
				return json.NewEncoder(out).Encode(labs)
			case "yaml":
				text, err := yaml.Dump(labs, yaml.WithIndent(2))
				if err != nil {
					return err
				}
				_, err = out.Write(text)
				return err
			}
			showLabs(out, labs)
			return nil
		},
	}
}

func showLabs(w io.Writer, labs []lab.Summary) {
	t := newTable(w, "lab", "made", "daemons", "machines", "workloads")
	for _, l := range labs {
		var daemons []string
		for _, n := range l.Nodes {
			daemon := fmt.Sprintf("%s: process %d", n.Machine, n.Daemon)
			if n.Daemon == 0 {
				daemon = bad(n.Machine + ": not running")
			}
			daemons = append(daemons, daemon)
		}
		t.AppendRow([]any{l.Name, l.Made.Local().Format(time.DateTime), orDash(strings.Join(daemons, ", ")),
			strings.Join(l.Machines, " "), orDash(strings.Join(l.Workloads, " "))})
	}
	t.Render()
}

func labExecCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "exec NAME MACHINE -- PROGRAM [ARGUMENT...]",
		Short: "Run a program on a machine of a lab",
		Long: `Run a program on a machine of a lab, or on a workload by NETWORK.WORKLOAD.
zosnet commands that it runs talk to the lab's daemon. The exit status is the
program's.`,
		Example: "  sudo zosnet lab exec try node -- zosnet status\n  sudo zosnet lab exec try acme.web-1 -- curl -s http://[2001:db8:2::2]/",
		Args:    cobra.MinimumNArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := lab.Find(args[0], args[1])
			if err != nil {
				return err
			}
			// Becoming the program, rather than its parent, leaves signals,
			// terminal and exit status to it alone.
			program := m.Command(cmd.Context(), args[2], args[3:]...)
			if program.Err != nil {
				return fmt.Errorf("run nsenter (package util-linux): %w", program.Err)
			}
			return unix.Exec(program.Path, program.Args, program.Env)
		},
	}
}
