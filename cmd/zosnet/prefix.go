package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/zosnet/zosnet/pkg/api"
)

func prefixCommand(o *options) *cobra.Command {
	return group(&cobra.Command{
		Use:     "prefix",
		Short:   "Show the IPv6 allocations and what is used of them",
		Example: "  zosnet prefix ls\n  zosnet prefix show 2001:db8:aaaa::/48",
	}, prefixListCommand(o), prefixShowCommand(o))
}

func prefixListCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the prefixes",
		Example: "  zosnet prefix ls",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := o.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			list, err := client.ListPrefixes(cmd.Context(), &api.ListPrefixesRequest{})
			if err != nil {
				return err
			}
			return o.print(cmd, list, func(w io.Writer) {
				t := newTable(w, "prefix", "holder", "networks", "resting", "of", "source")
				for _, p := range list.Prefixes {
					t.AppendRow([]any{p.Prefix, p.Holder, p.Networks, p.Resting, p.Capacity, p.Source})
				}
				t.Render()
			})
		},
	}
}

func prefixShowCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "show PREFIX",
		Short: "Show one prefix: its blocks and who has which /64",
		Long: `Show one prefix: its blocks and who has which /64. Of a prefix or an address inside
it, only what concerns that: so it also tells whose an address is.`,
		Example: "  zosnet prefix show 2001:db8:aaaa::/48\n  zosnet prefix show 2001:db8:aaaa:1::100",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := o.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			prefix, err := client.ShowPrefix(cmd.Context(), &api.ShowPrefixRequest{Prefix: args[0]})
			if err != nil {
				return err
			}
			return o.print(cmd, prefix, func(w io.Writer) { showPrefix(w, prefix) })
		},
	}
}

func showPrefix(w io.Writer, p *api.Prefix) {
	fmt.Fprintf(w, "Prefix    %s\n", p.Prefix)
	fmt.Fprintf(w, "Holder    %s\n", p.Holder)
	fmt.Fprintf(w, "Source    %s\n", orDash(p.Source))
	fmt.Fprintf(w, "Networks  %d of %d have a /64, %d rest\n", p.Networks, p.Capacity, p.Resting)
	if len(p.Blocks) == 0 {
		return
	}
	fmt.Fprintln(w)
	t := newTable(w, "block", "node", "networks", "resting", "of")
	for _, b := range p.Blocks {
		t.AppendRow([]any{b.Block, b.Node, b.Networks, b.Resting, b.Capacity})
	}
	t.Render()
	fmt.Fprintln(w)
	t = newTable(w, "/64", "network", "node", "rests until")
	for _, b := range p.Blocks {
		for _, l := range b.Leases {
			t.AppendRow([]any{l.Prefix, l.Network, b.Node, shortTime(l.RestsUntil)})
		}
	}
	t.Render()
}
