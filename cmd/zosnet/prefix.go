package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/zosnet/zosnet/pkg/api"
)

func prefixCommand(o *options) *cobra.Command {
	return group(&cobra.Command{
		Use:     "prefix",
		Short:   "Register IPv6 allocations, and show what is used of them",
		Example: "  zosnet prefix ls\n  zosnet prefix register 2001:db8:aaaa::/48 --source 'LIR example' --contact noc@example.net",
	}, prefixListCommand(o), prefixShowCommand(o), prefixRegisterCommand(o), prefixReleaseCommand(o), prefixVerifyCommand(o))
}

func prefixListCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the prefixes",
		Long: `List the prefixes: in a grid those of all its nodes. How many networks have a /64 of
one, or had it until lately, is counted on this node; blocks are counted on all.`,
		Example: "  zosnet prefix ls",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(o, cmd, asking, (*api.Client).ListPrefixes, &api.ListPrefixesRequest{}, func(w io.Writer, list *api.ListPrefixesResponse) {
				t := newTable(w, "prefix", "holder", "blocks", "networks", "resting", "of", "source")
				for _, p := range list.Prefixes {
					t.AppendRow([]any{p.Prefix, p.Holder, len(p.Blocks), p.Networks, p.Resting, p.Capacity, orDash(p.Source)})
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
			return show(o, cmd, asking, (*api.Client).ShowPrefix, &api.ShowPrefixRequest{Prefix: args[0]}, showPrefix)
		},
	}
}

func showPrefix(w io.Writer, p *api.Prefix) {
	fmt.Fprintf(w, "Prefix    %s\n", p.Prefix)
	fmt.Fprintf(w, "Holder    %s\n", p.Holder)
	fmt.Fprintf(w, "Source    %s\n", orDash(p.Source))
	fmt.Fprintf(w, "Contact   %s\n", orDash(p.Contact))
	fmt.Fprintf(w, "Networks  %d of %d have a /64, %d rest\n", p.Networks, p.Capacity, p.Resting)
	if len(p.Blocks) == 0 {
		return
	}
	fmt.Fprintln(w)
	t := newTable(w, "block", "node", "networks", "resting", "of", "rests until")
	leases := 0
	for _, b := range p.Blocks {
		networks, resting := fmt.Sprint(b.Networks), fmt.Sprint(b.Resting)
		if b.Elsewhere {
			networks, resting = "-", "-"
		}
		t.AppendRow([]any{b.Block, b.Node, networks, resting, b.Capacity, restText(b)})
		leases += len(b.Leases)
	}
	t.Render()
	if leases == 0 {
		return
	}
	fmt.Fprintln(w)
	t = newTable(w, "/64", "network", "node", "rests until")
	for _, b := range p.Blocks {
		for _, l := range b.Leases {
			t.AppendRow([]any{l.Prefix, l.Network, b.Node, shortTime(l.RestsUntil)})
		}
	}
	t.Render()
}

// restText says until when a block that was given back rests, or that its holder has still
// to let it.
func restText(b *api.Block) string {
	if b.GivenBack {
		return "on its way back"
	}
	return shortTime(b.RestsUntil)
}

func prefixRegisterCommand(o *options) *cobra.Command {
	request := &api.RegisterPrefixRequest{}
	cmd := &cobra.Command{
		Use:   "register PREFIX",
		Short: "Register an allocation that this node holds",
		Long: `Register an allocation that this node holds: the upstream routes it here. Its networks
get their /64s from it at once; in a grid other nodes get blocks of it. Again, it
changes source and contact.`,
		Example: "  zosnet prefix register 2001:db8:aaaa::/48 --source 'LIR example, contract 4711' --contact noc@example.net",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			request.Prefix = args[0]
			return show(o, cmd, "registering", (*api.Client).RegisterPrefix, request, showPrefix)
		},
	}
	cmd.Flags().StringVar(&request.Source, "source", "", "who it is from: a LIR or an upstream, a contract or ticket")
	cmd.Flags().StringVar(&request.Contact, "contact", "", "who answers for it when it is not routed")
	return cmd
}

func prefixReleaseCommand(o *options) *cobra.Command {
	request := &api.ReleasePrefixRequest{}
	cmd := &cobra.Command{
		Use:   "release PREFIX",
		Short: "Give up an allocation that was registered",
		Long: `Give up an allocation that was registered, or that node.yaml named. While networks of
this node have a /64 of it, or other nodes a block, that is refused, and it is said
who. With --force the blocks are taken back: nobody gets a /64 of them for an hour,
and the networks that are in them must be made anew before that has passed.`,
		Example: "  zosnet prefix release 2001:db8:aaaa::/48",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			request.Prefix = args[0]
			return show(o, cmd, "releasing", (*api.Client).ReleasePrefix, request, func(w io.Writer, response *api.ReleasePrefixResponse) {
				for _, b := range response.Taken {
					fmt.Fprintf(w, "taken back from node %s: %s\n", b.Node, b.Block)
				}
				for _, warning := range response.Warnings {
					fmt.Fprintln(w, "warning:", warning)
				}
			})
		},
	}
	cmd.Flags().BoolVar(&request.Force, "force", false, "take the blocks back from nodes that have some")
	return cmd
}

func prefixVerifyCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "verify [PREFIX]",
		Short: "Test whether the upstream's routing leads here, and say what is wrong",
		Long: `Test whether the upstream's routing leads here: packets are sent into the prefix by the
uplink's router, and must come back; then others from an address of it. Without a
prefix, all that should be routed here is tested, each within seconds. Nobody else is
let in for it. The exit status is 0 only when everything is routed here.`,
		Example: "  zosnet prefix verify\n  zosnet prefix verify 2001:db8:aaaa::/48",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := o.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			request := &api.VerifyPrefixRequest{Prefix: strings.Join(args, "")}
			var response *api.VerifyPrefixResponse
			err = progress(cmd, "sending into the prefixes", func() (err error) {
				response, err = client.VerifyPrefix(cmd.Context(), request)
				return err
			})
			if err != nil {
				return err
			}
			if err := o.print(cmd, response, func(w io.Writer) { showChecks(w, response.Checks) }); err != nil {
				return err
			}
			for _, c := range response.Checks {
				if !c.Routed {
					return errPrinted
				}
			}
			return nil
		},
	}
}

func showChecks(w io.Writer, checks []*api.PrefixCheck) {
	t := newTable(w, "prefix", "finding", "uplink", "gateway", "way")
	for _, c := range checks {
		t.AppendRow([]any{c.Prefix, c.Finding, orDash(c.Uplink), orDash(c.Gateway), orDash(strings.Join(c.Hops, " "))})
	}
	t.Render()
	for _, c := range checks {
		fmt.Fprintf(w, "\n%s: %s.\n", c.Prefix, c.Text)
	}
}
