package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/zosnet/zosnet/pkg/api"
)

func nodesCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:     "nodes",
		Short:   "List the nodes of the grid",
		Example: "  zosnet nodes\n  zosnet nodes -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(o, cmd, "asking the grid's registry", (*api.Client).ListNodes, &api.ListNodesRequest{}, showNodes)
		},
	}
}

func showNodes(w io.Writer, list *api.ListNodesResponse) {
	t := newTable(w, "node", "role", "underlay", "endpoint", "control address", "live", "networks", "version")
	for _, n := range list.Nodes {
		endpoint := n.Endpoint
		if endpoint == "" && !n.Unproven {
			endpoint = "hidden"
		}
		t.AppendRow([]any{n.Node, roleText(n), orDash(n.Underlay), orDash(endpoint), orDash(n.Address), liveText(n), len(n.Networks), orDash(n.Version)})
	}
	t.Render()
	for _, n := range list.Nodes {
		if n.Problem != "" {
			fmt.Fprintf(w, "\n%s: %s\n", bad(n.Node), n.Problem)
		}
	}
	if list.Registry.Problem != "" {
		fmt.Fprintf(w, "\nThis is what this node knows by itself, %s.\n", registryText(list.Registry))
	}
}

func roleText(n *api.Node) string {
	switch {
	case n.Unproven:
		return bad("not proven")
	case n.Member:
		return "member"
	}
	return "client"
}

func liveText(n *api.Node) string {
	switch {
	case n.Live:
		return "since " + shortTime(n.Since)
	case n.Left != "":
		return bad("not since ") + shortTime(n.Left)
	}
	return bad("no")
}
