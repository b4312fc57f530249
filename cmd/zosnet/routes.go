package main

import (
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/ipam"
)

func routesCommand(o *options) *cobra.Command {
	formats := append(ipam.RouteFormats(), "json")
	format, via := formats[0], ""
	cmd := &cobra.Command{
		Use:   "routes",
		Short: "Print what the upstream's router needs: one route a block",
		Long: `Print what the upstream's router needs: the prefixes that this node holds lead to it,
each block that another node of the grid has of them to that one, and the blocks that
it has of others here. A node's next hop is its endpoint or the address of its uplink.`,
		Example: "  zosnet routes\n  zosnet routes --format bird > zosnet.conf\n  zosnet routes --format frr --via 2001:db8:1::10",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := o.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			list, err := client.ListRoutes(cmd.Context(), &api.ListRoutesRequest{Via: via})
			if err != nil {
				return err
			}
			if format == "json" {
				o.format = "json"
			}
			text, err := routeText(format, list.Routes)
			if err != nil {
				return err
			}
			for _, block := range list.Unrouted {
				fmt.Fprintln(cmd.ErrOrStderr(), "warning:", block)
			}
			return o.print(cmd, list, func(w io.Writer) { fmt.Fprint(w, text) })
		},
	}
	cmd.Flags().StringVar(&format, "format", format, strings.Join(formats, ", "))
	cmd.Flags().StringVar(&via, "via", "", "next hop instead of the address found on the uplink")
	offer(cmd, "format", formats...)
	return cmd
}

func routeText(format string, routes []*api.Route) (string, error) {
	if format == "json" {
		return "", nil
	}
	list := make([]ipam.Route, len(routes))
	for i, r := range routes {
		var err error
		if list[i].Block, err = netip.ParsePrefix(r.Prefix); err != nil {
			return "", err
		}
		if list[i].NextHop, err = netip.ParseAddr(r.NextHop); err != nil {
			return "", err
		}
		list[i].Node = r.Node
	}
	return ipam.WriteRoutes(format, list)
}
