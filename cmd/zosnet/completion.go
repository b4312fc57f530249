package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/zosnet/zosnet/pkg/api"
)

// completionTime bounds what a press of the tab key may take.
const completionTime = time.Second

type completion = func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective)

// names offers what pick takes from the daemon's networks.
func (o *options) names(pick func(cmd *cobra.Command, n *api.NetworkSummary) []string) completion {
	return func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(context.Background(), completionTime)
		defer cancel()
		client, err := o.dial(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer client.Close()
		list, err := client.ListNetworks(ctx, &api.ListNetworksRequest{})
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for _, n := range list.Networks {
			names = append(names, pick(cmd, n)...)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

func networkName(_ *cobra.Command, n *api.NetworkSummary) []string { return []string{n.Network} }

// ofNetwork keeps what belongs to the network that --network names, if it does.
func ofNetwork(pick func(n *api.NetworkSummary) []string) func(*cobra.Command, *api.NetworkSummary) []string {
	return func(cmd *cobra.Command, n *api.NetworkSummary) []string {
		if chosen, err := cmd.Flags().GetString("network"); err == nil && chosen != "" && chosen != n.Network {
			return nil
		}
		return pick(n)
	}
}

// endpoints names both ends that trace takes.
func endpoints(_ *cobra.Command, n *api.NetworkSummary) []string {
	return append(qualified(n, n.Services), qualified(n, n.Workloads)...)
}

func workloadPath(_ *cobra.Command, n *api.NetworkSummary) []string {
	return qualified(n, n.Workloads)
}

func qualified(n *api.NetworkSummary, names []string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = n.Network + "/" + name
	}
	return out
}

// complete sets what the shell offers for a flag.
func complete(cmd *cobra.Command, flag string, with completion) {
	if err := cmd.RegisterFlagCompletionFunc(flag, with); err != nil {
		panic(err) // a flag that the command has not
	}
}

// offer sets the values that a flag can have.
func offer(cmd *cobra.Command, flag string, values ...string) {
	complete(cmd, flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

// describeCompletion gives cobra's own verb an example, like every other.
func describeCompletion(root *cobra.Command) {
	for _, c := range root.Commands() {
		if c.Name() != "completion" {
			continue
		}
		c.Example = "  source <(zosnet completion bash)"
		for _, shell := range c.Commands() {
			shell.Example = "  zosnet completion " + shell.Name()
		}
	}
}
