package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/zosnet/zosnet/pkg/api"
)

func keysCommand(o *options) *cobra.Command {
	return group(&cobra.Command{
		Use:     "keys",
		Short:   "Show and change the WireGuard keys of networks",
		Example: "  zosnet keys ls\n  zosnet keys rotate",
	}, keysListCommand(o), keysRotateCommand(o))
}

func keysListCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List this node's WireGuard keys",
		Example: "  zosnet keys ls\n  zosnet keys ls -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(o, cmd, asking, (*api.Client).ListKeys, &api.ListKeysRequest{}, showKeys)
		},
	}
}

func keysRotateCommand(o *options) *cobra.Command {
	var network string
	var every time.Duration
	wait := time.Minute
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Change the WireGuard keys of networks, on all their nodes",
		Long: `Change the WireGuard keys of networks, on all their nodes, without losing a packet.
A node that is away gets the new keys when it comes back; meanwhile the others
keep the old ones for it, for a day at most.

With --every nothing is changed now: the daemon changes each key that has become so
old, from now on, until --every 0.

The keys that stand in people's configurations are others, and stay.`,
		Example: "  zosnet keys rotate\n  zosnet keys rotate --network acme --wait 5m\n  zosnet keys rotate --every 720h",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("every") {
				request := &api.ScheduleRotationRequest{Network: network, EverySeconds: int64(every / time.Second)}
				return show(o, cmd, "scheduling", (*api.Client).ScheduleRotation, request, showKeys)
			}
			request := &api.RotateKeysRequest{Network: network, WaitSeconds: int64(wait / time.Second)}
			return show(o, cmd, "changing keys", (*api.Client).RotateKeys, request, showKeys)
		},
	}
	cmd.Flags().StringVar(&network, "network", "", "only this network's")
	cmd.Flags().DurationVar(&every, "every", 0, "change keys by itself when they are so old, at least 1h; 0: no more")
	cmd.Flags().DurationVar(&wait, "wait", wait, "how long to wait for the end")
	cmd.MarkFlagsMutuallyExclusive("every", "wait")
	return cmd
}

func showKeys(w io.Writer, list *api.KeyList) {
	t := newTable(w, "network", "public key", "interface", "port", "made", "every", "change")
	for _, k := range list.Keys {
		t.AppendRow([]any{k.Network, k.PublicKey, k.Interface, k.Port, shortTime(k.Made), everyText(k.EverySeconds), changeText(k)})
	}
	t.Render()
}

func everyText(seconds int64) string {
	if seconds == 0 {
		return "-"
	}
	return (time.Duration(seconds) * time.Second).String()
}

// changeText says how far the change of a key is.
func changeText(k *api.NetworkKey) string {
	switch {
	case k.Next == nil:
		return "-"
	case len(k.Next.WaitsFor) > 0:
		return fmt.Sprintf("to %s since %s, waits for %s", k.Next.Interface, shortTime(k.Next.Since), strings.Join(k.Next.WaitsFor, ", "))
	}
	return fmt.Sprintf("to %s since %s", k.Next.Interface, shortTime(k.Next.Since))
}
