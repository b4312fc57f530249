package main

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/zosnet/zosnet/pkg/api"
)

func attachCommand(o *options) *cobra.Command {
	request := &api.AttachRequest{}
	cmd := &cobra.Command{
		Use:   "attach --network NETWORK --service SERVICE --name WORKLOAD [--netns PATH | --tap NAME]",
		Short: "Attach a workload and wait until its address can be used",
		Long: `Attach a workload to a service of a network: a pause network namespace
/run/netns/NETWORK.WORKLOAD that zosnet makes, one that exists, or a VM's tap.
Returns when its address can be used.`,
		Example: `  zosnet attach --network acme --service web --name web-1
  nsenter --net=/run/netns/acme.web-1 ip address
  zosnet attach --network acme --service db --name db-1 --netns /run/netns/mine
  zosnet attach --network acme --service vm --name vm-1 --tap tap0`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := absolute(&request.NetnsPath); err != nil {
				return err
			}
			return show(o, cmd, "attaching "+request.Name, (*api.Client).Attach, request, showWorkload)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&request.Network, "network", "", "the network")
	flags.StringVar(&request.Service, "service", "", "the service of the network")
	flags.StringVar(&request.Name, "name", "", "the workload's name, one of its kind in the network")
	flags.StringVar(&request.NetnsPath, "netns", "", "a network namespace that exists")
	flags.StringVar(&request.Tap, "tap", "", "the name of a tap for a VM")
	require(cmd, "network", "service", "name")
	cmd.MarkFlagsMutuallyExclusive("netns", "tap")
	complete(cmd, "network", o.names(networkName))
	complete(cmd, "service", o.names(ofNetwork(func(n *api.NetworkSummary) []string { return n.Services })))
	return cmd
}

// absolute names a file as the daemon finds it, which runs in another directory.
func absolute(path *string) (err error) {
	if *path != "" {
		*path, err = filepath.Abs(*path)
	}
	return err
}

// require makes flags needed.
func require(cmd *cobra.Command, flags ...string) {
	for _, flag := range flags {
		if err := cmd.MarkFlagRequired(flag); err != nil {
			panic(err) // a flag that the command has not
		}
	}
}

func showWorkload(w io.Writer, l *api.Workload) {
	t := newTable(w, "workload", "service", "address", "interface", "namespace")
	t.AppendRow([]any{l.Network + "/" + l.Name, l.Service, orDash(l.Address), l.Interface, orDash(l.Namespace)})
	t.Render()
	if l.Kind == "tap" {
		fmt.Fprintf(w, "\nGive the VM's card the MAC %s; it takes its address from router advertisements.\n", l.Mac)
	}
}
