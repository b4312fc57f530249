package main

import (
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/zosnet/zosnet/pkg/resolver"
)

func dnsCommand() *cobra.Command {
	var dir, listen string
	cmd := &cobra.Command{
		Use:   "dns",
		Short: "Answer a network's names, in the namespace that it is started in",
		Long: `Answer a network's names from the files zone and forward of a directory, in the
network namespace that it is started in, until it is told to end. The daemon
starts one for each network; it outlives the daemon, and runs as nobody.`,
		Example: "  zosnet dns --dir /run/zosnet/dns/acme --listen '[2001:db8:aaaa:1::53]:53'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			at, err := netip.ParseAddrPort(listen)
			if err != nil {
				return fmt.Errorf("--listen %s: want an address and a port such as [2001:db8:aaaa:1::53]:53", listen)
			}
			return resolver.Run(cmd.Context(), resolver.Config{
				Dir: dir, Listen: at, Log: slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)),
			})
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "directory with the names")
	cmd.Flags().StringVar(&listen, "listen", "", "address and port")
	for _, flag := range []string{"dir", "listen"} {
		_ = cmd.MarkFlagRequired(flag) // both exist
	}
	return cmd
}
