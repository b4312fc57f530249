package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/zosnet/zosnet/pkg/api"
)

func nodeCommand(o *options) *cobra.Command {
	return group(&cobra.Command{
		Use:     "node",
		Short:   "Take a node out of the grid",
		Example: "  zosnet node remove n3",
	}, nodeRemoveCommand(o))
}

func nodeRemoveCommand(o *options) *cobra.Command {
	request := &api.RemoveNodeRequest{}
	cmd := &cobra.Command{
		Use:   "remove NODE",
		Short: "Take a node out of the grid for good",
		Long: `Take a node out of the grid for good, at a member that has the CA's key: its
certificates are revoked, what it published and the names of its workloads go, and
blocks that others delegated to it rest before they are given away. Documents go on
naming it, which is ignored. A member is demoted first.`,
		Example: "  zosnet node remove n3\n  zosnet node remove n3 --force",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			request.Node = args[0]
			return show(o, cmd, "removing "+request.Node, (*api.Client).RemoveNode, request, func(w io.Writer, response *api.RemoveNodeResponse) {
				fmt.Fprintf(w, "removed node %s\n", response.Node)
				if len(response.Networks) > 0 {
					fmt.Fprintf(w, "its part in %s is gone; take it out of their documents when you next change them\n", strings.Join(response.Networks, ", "))
				}
			})
		},
	}
	cmd.Flags().BoolVar(&request.Force, "force", false, "also while it is live")
	return cmd
}
