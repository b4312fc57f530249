package main

import (
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/zosnet/zosnet/pkg/apply"
	"github.com/zosnet/zosnet/pkg/loader"
	"github.com/zosnet/zosnet/pkg/spec"
)

// lockdownEarlyCommand is what zosnet-early.service runs: no daemon is there yet.
func lockdownEarlyCommand() *cobra.Command {
	var config string
	cmd := &cobra.Command{
		Use:   "early --config FILE",
		Short: "Lock the machine down at boot, before it has an address",
		Long: `Lock every physical link down and put an nft input-drop behind that, for links
that are not known yet. The host answers ARP on a link for that link's own
addresses only. It needs no daemon; node.yaml gives the openings and where to pin.
Where that cannot be read, everything is locked down all the same,
without openings, and the exit status says so.`,
		Example: "  sudo zosnet lockdown early --config /etc/zosnet/node.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
			options := loader.EarlyOptions{Options: loader.Options{BPFFS: spec.DefaultBPFFS, Log: log}}
			runDir := spec.DefaultRunDir
			node, unreadable := spec.ReadNode(config)
			if unreadable == nil {
				options.BPFFS, options.Uplinks, options.Allow = node.BPFFS, node.Uplinks, node.Lockdown.Allow
				runDir = node.RunDir
			}
			if err := apply.Early(options, runDir); err != nil {
				return err
			}
			if unreadable != nil {
				return &badDocument{unreadable}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&config, "config", "/etc/zosnet/node.yaml", "node.yaml")
	return cmd
}
