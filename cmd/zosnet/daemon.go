package main

import (
	"github.com/spf13/cobra"

	"github.com/zosnet/zosnet/pkg/daemon"
)

func daemonCommand() *cobra.Command {
	var config string
	cmd := &cobra.Command{
		Use:   "daemon --config FILE",
		Short: "Run the daemon of this node",
		Long: `Run the daemon of this node, in the network namespace it is started in, until
SIGTERM. SIGHUP rereads node.yaml. What is enforced stays enforced when it ends.`,
		Example: "  zosnet daemon --config /etc/zosnet/node.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return daemon.Run(cmd.Context(), daemon.Config{NodeFile: config, Version: built(), Log: cmd.ErrOrStderr()})
		},
	}
	cmd.Flags().StringVar(&config, "config", "/etc/zosnet/node.yaml", "node.yaml")
	return cmd
}
