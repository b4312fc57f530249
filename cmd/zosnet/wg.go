package main

import (
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/zosnet/zosnet/pkg/wireguard/userspace"
)

// wgCommand is what the daemon starts where the kernel has no WireGuard.
func wgCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "wg",
		Short: "Carry WireGuard packets where the kernel cannot (the daemon starts it)",
		Long: `Carry WireGuard packets for the daemon's devices where the kernel has no WireGuard.
The daemon starts it and hands it what it needs; it has no privileges, goes on when
the daemon ends, and ends with its last device. wg(8) shows the devices.`,
		Example: "  pgrep -af 'zosnet wg'\n  sudo wg show",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return userspace.Run(cmd.Context(), slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)))
		},
	}
}
