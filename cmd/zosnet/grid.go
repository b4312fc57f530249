package main

import (
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/zosnet/zosnet/pkg/api"
)

func gridCommand(o *options) *cobra.Command {
	return group(&cobra.Command{
		Use:     "grid",
		Short:   "Bring nodes together: make a grid, invite a node, join",
		Example: "  zosnet grid init\n  zosnet grid token\n  zosnet grid join zosnet-join-1:…",
	}, gridInitCommand(o), gridTokenCommand(o), gridJoinCommand(o), gridShowCommand(o),
		gridMembersCommand(o), gridPromoteCommand(o), gridDemoteCommand(o), gridRecoverCommand(o))
}

func gridInitCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "init",
		Short: "Make a grid whose first node this one is",
		Long: `Make a grid whose first node this one is: its CA, its control network, and its
registry, which listens there and nowhere else. node.yaml must say under which
endpoint others reach this node.

Keep a copy of STATEDIR/grid/ca.key in a safe place: it says who is in the grid.`,
		Example: "  zosnet grid init",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(o, cmd, "making a grid", (*api.Client).InitGrid, &api.InitGridRequest{}, showPlace)
		},
	}
}

func gridJoinCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "join TOKEN",
		Short: "Bring this node into the grid that the token is of",
		Long: `Bring this node into the grid that the token is of. A token can be used once; "-"
reads it from standard input, so that it is in no list of processes.`,
		Example: "  zosnet grid join zosnet-join-1:…\n  zosnet grid join - < token",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			token, err := tokenOf(cmd, args[0])
			if err != nil {
				return err
			}
			return show(o, cmd, "joining the grid", (*api.Client).JoinGrid, &api.JoinGridRequest{Token: token}, showPlace)
		},
	}
}

func gridShowCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:     "show",
		Short:   "Show this node's place in its grid",
		Example: "  zosnet grid show -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(o, cmd, asking, (*api.Client).ShowGrid, &api.ShowGridRequest{}, showPlace)
		},
	}
}

// showPlace shows a node's place in its grid.
func showPlace(w io.Writer, node *api.GridNode) {
	t := newTable(w, "node", "control network", "address", "interface", "members")
	t.AppendRow([]any{node.Node, node.Control, node.Address, node.Interface, strings.Join(node.Members, ", ")})
	t.Render()
}
