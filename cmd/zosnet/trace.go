package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/spec"
)

func traceCommand(o *options) *cobra.Command {
	request := &api.TraceRequest{}
	var tcp, udp uint16
	var icmpv6 string
	cmd := &cobra.Command{
		Use:   "trace --from A --to B {--tcp PORT | --udp PORT | --icmpv6 TYPE}",
		Short: "Say whether a flow would be allowed, and which rule decides",
		Long: `Say whether a flow from A to B would be allowed, and which rule of which network
decides. A and B are NETWORK/SERVICE, NETWORK/WORKLOAD, NETWORK/ACCESS or an address.
Exit status: 0 allowed, 4 denied.`,
		Example: `  zosnet trace --from acme/web --to acme/db --tcp 5432
  zosnet trace --from 2001:db8:77::1 --to acme/web-1 --icmpv6 echo-request`,
		Args: cobra.NoArgs,
		PreRunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case cmd.Flags().Changed("tcp"):
				request.Protocol, request.Port = spec.ProtoTCP, uint32(tcp)
			case cmd.Flags().Changed("udp"):
				request.Protocol, request.Port = spec.ProtoUDP, uint32(udp)
			case cmd.Flags().Changed("icmpv6"):
				number, ok := spec.ParseICMPv6Type(icmpv6)
				if !ok {
					return fmt.Errorf("--icmpv6 %s: want a number from 0 to 255 or a name such as echo-request", icmpv6)
				}
				request.Protocol, request.Port = spec.ProtoICMPv6, uint32(number)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := o.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			trace, err := client.Trace(cmd.Context(), request)
			if err != nil {
				return err
			}
			if err := o.print(cmd, trace, func(w io.Writer) { showTrace(w, trace) }); err != nil {
				return err
			}
			if trace.Verdict != api.Allowed {
				return errDenied
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&request.From, "from", "", "who starts the flow")
	flags.StringVar(&request.To, "to", "", "whom it is for")
	flags.Uint16Var(&tcp, "tcp", 0, "to this TCP port")
	flags.Uint16Var(&udp, "udp", 0, "to this UDP port")
	flags.StringVar(&icmpv6, "icmpv6", "", "an ICMPv6 message of this type, by name or number")
	require(cmd, "from", "to")
	cmd.MarkFlagsOneRequired("tcp", "udp", "icmpv6")
	cmd.MarkFlagsMutuallyExclusive("tcp", "udp", "icmpv6")
	complete(cmd, "from", o.names(endpoints))
	complete(cmd, "to", o.names(endpoints))
	offer(cmd, "icmpv6", "echo-request", "node-information-query")
	return cmd
}

func showTrace(w io.Writer, r *api.TraceResponse) {
	fmt.Fprintf(w, "%s", verdictWord(r.Verdict))
	if r.Reason != "" {
		fmt.Fprintf(w, " (%s)", r.Reason)
	}
	if r.Rule != "" {
		fmt.Fprintf(w, " by %s", r.Rule)
	}
	fmt.Fprintln(w)
	if len(r.Sides) == 0 {
		return
	}
	fmt.Fprintln(w)
	t := newTable(w, "network", "side", "verdict", "rule")
	for _, s := range r.Sides {
		t.AppendRow([]any{s.Network, s.Side, verdictWord(s.Verdict), s.Rule})
	}
	t.Render()
}

func verdictWord(verdict string) string {
	if verdict == api.Allowed {
		return good(verdict)
	}
	return bad(verdict)
}
