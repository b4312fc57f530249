package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/zosnet/zosnet/pkg/api"
)

func gridMembersCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:     "members",
		Short:   "Show who keeps the grid's registry",
		Example: "  zosnet grid members -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.gridMembers(cmd, "asking", func(c *api.Client) (*api.GridMembers, error) {
				return c.ListMembers(cmd.Context(), &api.ListMembersRequest{})
			})
		},
	}
}

func gridPromoteCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "promote NODE",
		Short: "Make a node a member of the grid's registry",
		Long: `Make a node a member of the grid's registry: it keeps a copy and has a vote. There
can be up to five; three survive the loss of one. Ask a member that has the CA's
key. If it fails half-way, the same command again finishes it.`,
		Example: "  zosnet grid promote n2",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.gridMembers(cmd, "promoting "+args[0], func(c *api.Client) (*api.GridMembers, error) {
				return c.PromoteNode(cmd.Context(), &api.PromoteNodeRequest{Node: args[0]})
			})
		},
	}
}

func gridDemoteCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "demote NODE",
		Short: "Take a member out of the grid's registry",
		Long: `Take a member out of the grid's registry, also one that is gone for good. The node
stays in the grid. Ask any other member; one that has the CA's key also takes the
certificate back by which the node was a member. If it fails half-way, the same
command again finishes it.`,
		Example: "  zosnet grid demote n2",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.gridMembers(cmd, "demoting "+args[0], func(c *api.Client) (*api.GridMembers, error) {
				return c.DemoteNode(cmd.Context(), &api.DemoteNodeRequest{Node: args[0]})
			})
		},
	}
}

// gridMembers asks the daemon for something about the members, and prints who they
// are then.
func (o *options) gridMembers(cmd *cobra.Command, doing string, ask func(*api.Client) (*api.GridMembers, error)) error {
	client, err := o.dial(cmd.Context())
	if err != nil {
		return err
	}
	defer client.Close()
	var members *api.GridMembers
	err = progress(cmd, doing, func() (err error) {
		members, err = ask(client)
		return err
	})
	if err != nil {
		return err
	}
	for _, warning := range members.Warnings {
		fmt.Fprintln(cmd.ErrOrStderr(), "warning:", warning)
	}
	return o.print(cmd, members, func(w io.Writer) {
		t := newTable(w, "member", "address", "role")
		for _, m := range members.Members {
			t.AppendRow([]any{m.Node, m.Address, m.Role})
		}
		t.Render()
	})
}
