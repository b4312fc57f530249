package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/zosnet/zosnet/pkg/api"
)

func detachCommand(o *options) *cobra.Command {
	request := &api.DetachRequest{}
	cmd := &cobra.Command{
		Use:     "detach NETWORK/WORKLOAD",
		Short:   "Undo attach",
		Long:    "Undo attach: the interface goes, and with it the namespace or tap if zosnet made it.",
		Example: "  zosnet detach acme/web-1\n  zosnet detach --network acme --name web-1",
		Args: func(_ *cobra.Command, args []string) error {
			return workloadOf(request, args)
		},
		ValidArgsFunction: o.names(workloadPath),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(o, cmd, "detaching "+request.Name, (*api.Client).Detach, request, func(w io.Writer, response *api.DetachResponse) {
				fmt.Fprintf(w, "detached %s/%s\n", response.Network, response.Name)
			})
		},
	}
	cmd.Flags().StringVar(&request.Network, "network", "", "the network")
	cmd.Flags().StringVar(&request.Name, "name", "", "the workload")
	complete(cmd, "network", o.names(networkName))
	complete(cmd, "name", o.names(ofNetwork(func(n *api.NetworkSummary) []string { return n.Workloads })))
	return cmd
}

// workloadOf takes the workload from the argument, where the flags do not name it.
func workloadOf(r *api.DetachRequest, args []string) error {
	flags := r.Network != "" || r.Name != ""
	switch {
	case len(args) == 1 && !flags:
		network, name, ok := strings.Cut(args[0], "/")
		if !ok || network == "" || name == "" {
			return fmt.Errorf("%q: want NETWORK/WORKLOAD", args[0])
		}
		r.Network, r.Name = network, name
	case len(args) > 0, r.Network == "", r.Name == "":
		return fmt.Errorf("name one workload: NETWORK/WORKLOAD, or --network and --name")
	}
	return nil
}
