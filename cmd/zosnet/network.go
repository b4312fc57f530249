package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/zosnet/zosnet/pkg/api"
)

func networkCommand(o *options) *cobra.Command {
	return group(&cobra.Command{
		Use:     "network",
		Short:   "Show the tenant networks",
		Example: "  zosnet network ls\n  zosnet network show acme",
	}, networkListCommand(o), networkShowCommand(o), networkDiffCommand(o), networkHistoryCommand(o))
}

func networkListCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the networks",
		Example: "  zosnet network ls",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(o, cmd, asking, (*api.Client).ListNetworks, &api.ListNetworksRequest{}, func(w io.Writer, list *api.ListNetworksResponse) {
				t := newTable(w, "network", "prefix", "services", "workloads")
				for _, n := range list.Networks {
					t.AppendRow([]any{n.Network, orDash(n.Prefix), orDash(strings.Join(n.Services, ", ")), len(n.Workloads)})
				}
				t.Render()
				for _, n := range list.Networks {
					if n.Ignored != "" {
						fmt.Fprintf(w, "\n%s: %s\n", bad(n.Network), n.Ignored)
					}
				}
			})
		},
	}
}

func networkShowCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:               "show NETWORK",
		Short:             "Show one network: prefixes, workloads, rules",
		Example:           "  zosnet network show acme\n  zosnet network show acme -o json",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: o.names(networkName),
		RunE: func(cmd *cobra.Command, args []string) error {
			return show(o, cmd, asking, (*api.Client).ShowNetwork, &api.ShowNetworkRequest{Network: args[0]}, showNetwork)
		},
	}
}

func showNetwork(w io.Writer, n *api.Network) {
	fmt.Fprintf(w, "Network   %s (%d)\n", n.Network, n.Id)
	nodes := make([]string, 0, len(n.Prefixes))
	for node := range n.Prefixes {
		nodes = append(nodes, node)
	}
	slices.Sort(nodes)
	for _, node := range nodes {
		fmt.Fprintf(w, "Prefix    %s on %s\n", n.Prefixes[node], node)
	}
	fmt.Fprintf(w, "Gateway   %s on %s\n", n.Gateway, n.Bridge)
	fmt.Fprintf(w, "Document  %s, %s\n", n.File, shortTime(n.Applied))
	if t := n.Traffic; t != nil {
		fmt.Fprintf(w, "Traffic   sent %d packets, %d bytes; received %d packets, %d bytes\n",
			t.SentPackets, t.SentBytes, t.ReceivedPackets, t.ReceivedBytes)
	}
	fmt.Fprintln(w)
	t := newTable(w, "workload", "service", "node", "address", "interface", "kind")
	for _, wl := range n.Workloads {
		t.AppendRow([]any{wl.Name, wl.Service, wl.Node, orDash(wl.Address), orDash(wl.Interface), wl.Kind})
	}
	t.Render()
	fmt.Fprintln(w)
	t = newTable(w, "entry", "rule", "place", "flows")
	for _, r := range n.Rules {
		t.AppendRow([]any{r.Entry, r.Text, r.Place, r.Flows})
	}
	t.Render()
	if len(n.Drops) > 0 {
		fmt.Fprintln(w)
		showDrops(w, n.Drops)
	}
	showIgnored(w, n.Ignored)
}

func showDrops(w io.Writer, drops []*api.Drop) {
	t := newTable(w, "dropped", "packets", "bytes")
	for _, d := range drops {
		t.AppendRow([]any{d.Reason, d.Packets, d.Bytes})
	}
	t.Render()
}
