package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/zosnet/zosnet/pkg/daemon"
)

func uninstallCommand(o *options) *cobra.Command {
	var config string
	var networks, yes bool
	cmd := &cobra.Command{
		Use:   "uninstall --yes [--networks]",
		Short: "Take everything that zosnet made out of this machine's kernel",
		Long: `Take programs, maps, links, routes, sysctls and the early nft table out of the
kernel. From then on the host can be reached from the network, and workloads are
cut off. The daemon must be stopped. With --networks bridges, workloads' interfaces
and pause namespaces go too. Files stay: node.yaml, the state directory, the units
and the binary.`,
		Example: "  sudo zosnet uninstall --yes\n  sudo zosnet uninstall --yes --networks --config /etc/zosnet/node.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !yes {
				return &usageError{cmd, errors.New("uninstall opens this machine to the network and cuts its workloads off: say --yes")}
			}
			done, err := daemon.Uninstall(config, networks, cmd.ErrOrStderr())
			if failed := o.printUninstalled(cmd, done); failed != nil {
				return failed
			}
			return err
		},
	}
	cmd.Flags().StringVar(&config, "config", "/etc/zosnet/node.yaml", "node.yaml")
	cmd.Flags().BoolVar(&networks, "networks", false, "remove bridges, workloads' interfaces and pause namespaces too")
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	return cmd
}

func (o *options) printUninstalled(cmd *cobra.Command, done daemon.Uninstalled) error {
	message, err := structpb.NewStruct(map[string]any{"removed": texts(done.Removed), "stays": texts(done.Stays)})
	if err != nil {
		return err
	}
	return o.print(cmd, message, func(w io.Writer) {
		for _, line := range done.Removed {
			fmt.Fprintln(w, line)
		}
		for _, line := range done.Stays {
			fmt.Fprintln(w, "stays:", line)
		}
	})
}

func texts(list []string) []any {
	all := make([]any, len(list))
	for i, text := range list {
		all[i] = text
	}
	return all
}
