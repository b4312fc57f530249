package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/wireguard"
)

// accessKeepalive keeps a person's way open through NATs, so that workloads reach the
// device as well.
const accessKeepalive = 25 * time.Second

// accessPatience bounds how long a new device may take to be known where it ends.
const accessPatience = 30 * time.Second

func accessCommand(o *options) *cobra.Command {
	return group(&cobra.Command{
		Use:     "access",
		Short:   "Let people's devices into a network through WireGuard",
		Example: "  zosnet access add alice --network acme --allow web\n  zosnet access ls",
	}, accessAddCommand(o), accessRevokeCommand(o), accessListCommand(o), accessShowCommand(o))
}

func accessListCommand(o *options) *cobra.Command {
	request := &api.ListAccessRequest{}
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the devices that may join",
		Example: "  zosnet access ls\n  zosnet access ls --network acme -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := o.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			list, err := client.ListAccess(cmd.Context(), request)
			if err != nil {
				return err
			}
			return o.print(cmd, list, func(w io.Writer) {
				t := newTable(w, "network", "device", "at", "address", "allowed", "heard", "configuration", "problem")
				for _, d := range list.Devices {
					t.AppendRow([]any{d.Network, d.Name, orDash(d.At), orDash(d.Address), orDash(strings.Join(d.Allow, ", ")), shortTime(d.LastHandshake), configurationOf(d), orDash(d.Problem)})
				}
				t.Render()
			})
		},
	}
	cmd.Flags().StringVar(&request.Network, "network", "", "only this network's")
	o.completeNetwork(cmd)
	return cmd
}

func accessShowCommand(o *options) *cobra.Command {
	request := &api.ShowAccessRequest{}
	var code bool
	cmd := &cobra.Command{
		Use:   "show NAME --network NETWORK",
		Short: "Print a device's configuration, without its private key",
		Long: `Print a device's configuration for wg-quick. Its private key is with its owner and
nowhere else; a comment stands in its place.

What is printed counts as given out: zosnet access ls tells from then on when it is out
of date. What has changed since it was given out before is said on standard error.`,
		Example: "  zosnet access show alice --network acme",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			request.Name = args[0]
			client, err := o.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			device, err := client.ShowAccess(cmd.Context(), request)
			if err != nil {
				return err
			}
			if device.Problem != "" {
				return fmt.Errorf("%s cannot join network %s: %s", device.Name, device.Network, device.Problem)
			}
			return o.giveAccess(cmd, client, device, wireguard.PrivateKey{}, code)
		},
	}
	cmd.Flags().BoolVar(&code, "qr", false, "draw it as a QR code for a telephone's camera")
	o.requireNetwork(cmd, &request.Network)
	return cmd
}

// requireNetwork adds the flag without which it is not known whose device is meant.
func (o *options) requireNetwork(cmd *cobra.Command, network *string) {
	cmd.Flags().StringVar(network, "network", "", "the network")
	if err := cmd.MarkFlagRequired("network"); err != nil {
		panic(err)
	}
	o.completeNetwork(cmd)
}

func (o *options) completeNetwork(cmd *cobra.Command) {
	if err := cmd.RegisterFlagCompletionFunc("network", o.names(networkName)); err != nil {
		panic(err)
	}
}

// awaitAccess waits until it is known where a device joins and, for part of the time, what
// prefixes its network has on all nodes.
func awaitAccess(ctx context.Context, client *api.Client, request *api.ShowAccessRequest) (*api.AccessDevice, error) {
	ctx, cancel := context.WithTimeout(ctx, accessPatience)
	defer cancel()
	whole := time.Now().Add(accessPatience / 3)
	for {
		device, err := client.ShowAccess(ctx, request)
		if err == nil && device.Problem == "" && (len(device.Unknown) == 0 || time.Now().After(whole)) {
			return device, nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			if err == nil {
				err = errors.New(device.Problem)
			}
			return nil, err
		}
	}
}

// printAccess prints a device's configuration; with the private key where this command
// has just made it.
func (o *options) printAccess(cmd *cobra.Command, d *api.AccessDevice, key wireguard.PrivateKey, code bool) error {
	config, err := accessConfig(d, key)
	if err != nil {
		return err
	}
	if len(d.Unknown) > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "warning: the prefix of network %s on %s is not known yet and not in this configuration: print it anew with zosnet access show %s --network %s\n",
			d.Network, strings.Join(d.Unknown, ", "), d.Name, d.Network)
	}
	page := config
	if code {
		var drawn strings.Builder
		if err := wireguard.WriteQR(&drawn, config); err != nil {
			return err
		}
		page = drawn.String()
	}
	return o.print(cmd, &api.AccessConfiguration{Device: d, Config: config}, func(w io.Writer) { _, _ = io.WriteString(w, page) })
}

// printUnfinished prints the key of a device of which it is not known where it joins.
func (o *options) printUnfinished(cmd *cobra.Command, d *api.AccessDevice, key wireguard.PrivateKey) error {
	config := wireguard.Access{Network: d.Network, Name: d.Name, PrivateKey: key}.Unfinished()
	return o.print(cmd, &api.AccessConfiguration{Device: d, Config: config}, func(w io.Writer) { _, _ = io.WriteString(w, config) })
}

// accessConfig gives the text for wg-quick.
func accessConfig(d *api.AccessDevice, key wireguard.PrivateKey) (string, error) {
	a := wireguard.Access{
		Network: d.Network, Name: d.Name, PrivateKey: key, Search: d.Search, MTU: int(d.Mtu), Keepalive: accessKeepalive,
	}
	var errs [6]error
	a.PublicKey, errs[0] = wireguard.ParsePublicKey(d.PublicKey)
	a.Peer, errs[1] = wireguard.ParsePublicKey(d.Peer)
	a.Address, errs[2] = netip.ParseAddr(d.Address)
	a.Endpoint, errs[3] = netip.ParseAddrPort(d.Endpoint)
	for _, text := range d.Dns {
		var server netip.Addr
		server, errs[4] = netip.ParseAddr(text)
		a.DNS = append(a.DNS, server)
	}
	for _, text := range d.AllowedIps {
		var prefix netip.Prefix
		prefix, errs[5] = netip.ParsePrefix(text)
		a.AllowedIPs = append(a.AllowedIPs, prefix)
	}
	if err := errors.Join(errs[:]...); err != nil {
		return "", fmt.Errorf("configuration of %s for network %s: %w", d.Name, d.Network, err)
	}
	return a.Config()
}
