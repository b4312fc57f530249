package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/spec"
)

const defaultSocket = spec.DefaultRunDir + "/zosnet.sock"

// options are the flags that every verb has.
type options struct {
	socket string
	format string // table, json or yaml
}

func rootCommand() *cobra.Command {
	var o options
	root := &cobra.Command{
		Use:   "zosnet",
		Short: "The network of a node: invisible outside, tenants apart inside",
		Long: `zosnet locks a node down as if its cable were cut, gives each tenant network an
IPv6 /64, and lets packets through only where its rules say so.

Exit status: 0 done, 1 failed, 2 bad usage or document, 3 daemon not reachable;
trace: 0 allowed, 4 denied.`,
		Example:                    "  zosnet status\n  zosnet apply -f acme.yaml\n  zosnet attach --network acme --service web --name web-1",
		SilenceUsage:               true,
		SuggestionsMinimumDistance: 2,
		SilenceErrors:              true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			return o.check()
		},
	}
	o.register(root)
	root.AddCommand(
		daemonCommand(), dnsCommand(),
		applyCommand(&o), deleteCommand(&o), statusCommand(&o), networkCommand(&o),
		attachCommand(&o), detachCommand(&o),
		traceCommand(&o), monitorCommand(&o),
		prefixCommand(&o), routesCommand(&o),
		lockdownCommand(&o), doctorCommand(&o),
		uninstallCommand(&o),
		keyCommand(&o), keysCommand(&o), gridCommand(&o), accessCommand(&o), ownerCommand(&o), nodeCommand(&o), nodesCommand(&o),
		schemaCommand(), versionCommand(&o), labCommand(&o), wgCommand(),
	)
	root.InitDefaultCompletionCmd()
	describeCompletion(root)
	return root
}

func (o *options) register(root *cobra.Command) {
	socket := os.Getenv("ZOSNET_SOCKET")
	if socket == "" {
		socket = defaultSocket
	}
	root.PersistentFlags().StringVar(&o.socket, "socket", socket, "the daemon's socket; also $ZOSNET_SOCKET")
	root.PersistentFlags().StringVarP(&o.format, "output", "o", "table", "table, json or yaml")
	offer(root, "output", "table", "json", "yaml")
}

func (o *options) check() error {
	switch o.format {
	case "table", "json", "yaml":
		return nil
	}
	return fmt.Errorf("-o %s: want table, json or yaml", o.format)
}

func (o *options) dial(ctx context.Context) (*api.Client, error) { return api.Dial(ctx, o.socket) }

// group makes a command of others: alone it is bad usage.
func group(cmd *cobra.Command, verbs ...*cobra.Command) *cobra.Command {
	cmd.AddCommand(verbs...)
	return cmd
}

// verbs names the commands below cmd.
func verbs(cmd *cobra.Command) string {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return strings.Join(names, ", ")
}
