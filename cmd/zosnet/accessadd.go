package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/spec"
	"github.com/zosnet/zosnet/pkg/wireguard"
)

func accessAddCommand(o *options) *cobra.Command {
	edit := &accessEdit{o: o}
	var a spec.Access
	var allow []string
	var code bool
	cmd := &cobra.Command{
		Use:   "add NAME --network NETWORK",
		Short: "Let a device in, and print its configuration",
		Long: `Let a person's device into a network: its entry is added to the network's document,
which is applied as by zosnet apply, and its configuration for wg-quick is printed.
Where that cannot be printed the document is left, or made again, as it was.

Without --public-key a key pair is made. The private key stands in what is printed,
once, and is kept nowhere else. Better have the person make it (wg genkey) and tell
the public half: then it never leaves the device.`,
		Example: "  zosnet access add alice --network acme --allow web > alice.conf\n" +
			"  zosnet access add alice --network acme -f acme.yaml --public-key AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.Name = args[0]
			for _, service := range allow {
				a.Allow = append(a.Allow, spec.Selector{Kind: spec.SelectService, Name: service})
			}
			var private wireguard.PrivateKey
			if a.PublicKey == "" {
				private = wireguard.NewPrivateKey()
				a.PublicKey = private.Public().String()
			}
			if err := edit.open(cmd.Context()); err != nil {
				return err
			}
			defer edit.client.Close()
			err := edit.add(cmd, a, func(device *api.AccessDevice) error { return o.giveAccess(cmd, edit.client, device, private, code) })
			var kept *keptError
			if errors.As(err, &kept) && !private.IsZero() {
				// The device may be let in, so its key must not be lost.
				return errors.Join(err, o.printUnfinished(cmd, &api.AccessDevice{Network: edit.network, Name: a.Name, PublicKey: a.PublicKey}, private))
			}
			return err
		},
	}
	edit.register(cmd)
	flags := cmd.Flags()
	flags.StringSliceVar(&allow, "allow", nil, "services that it may reach, on their own ports; rules may let it reach more")
	flags.StringVar(&a.At, "at", "", "the node where it ends; else the network's exit, or its first node with an endpoint")
	flags.StringVar(&a.PublicKey, "public-key", "", "the device's own, as wg pubkey prints it")
	flags.BoolVar(&code, "qr", false, "draw the configuration as a QR code for a telephone's camera")
	return cmd
}

// keptError says that a device may be let in although its configuration is not printed.
type keptError struct{ cause, err error }

func (e *keptError) Error() string {
	return fmt.Sprintf("%v; and that it is let in could not be undone: %v; revoke it, or print its configuration with zosnet access show", e.cause, e.err)
}

func (e *keptError) Unwrap() []error { return []error{e.cause, e.err} }

// add lets a device in, and has its configuration printed once it is known. Where that
// does not come about, what was applied is taken back.
func (e *accessEdit) add(cmd *cobra.Command, a spec.Access, show func(*api.AccessDevice) error) error {
	err := e.change(cmd, "letting "+a.Name+" in", func(file string, text []byte) ([]byte, error) {
		edited, err := spec.WithAccess(file, text, a)
		if err != nil {
			return nil, &badDocument{err}
		}
		_, err = e.client.ForeseeAccess(cmd.Context(), &api.ForeseeAccessRequest{Document: &api.Document{File: file, Text: edited}, Name: a.Name})
		return edited, err
	})
	var unwritten *unwrittenError
	if err != nil && !errors.As(err, &unwritten) {
		return e.takeBack(cmd, err)
	}
	var device *api.AccessDevice
	err = progress(cmd, "waiting for the node where it ends", func() (err error) {
		device, err = awaitAccess(cmd.Context(), e.client, &api.ShowAccessRequest{Network: e.network, Name: a.Name})
		return err
	})
	if err != nil {
		return e.takeBack(cmd, fmt.Errorf("%s cannot join network %s: %w", a.Name, e.network, err))
	}
	if err := show(device); err != nil {
		return e.takeBack(cmd, fmt.Errorf("print the configuration of %s: %w", a.Name, err))
	}
	if unwritten != nil {
		return unwritten
	}
	return nil
}

// takeBack applies the document as it was, where the changed one is stored, and gives
// why. It does so also when the command is being ended.
func (e *accessEdit) takeBack(cmd *cobra.Command, cause error) error {
	if e.sent == nil {
		return cause
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(cmd.Context()), accessPatience)
	defer cancel()
	stored, err := e.client.GetDocument(ctx, &api.GetDocumentRequest{Network: e.network})
	switch {
	case err != nil && !api.NotFound(err):
		return &keptError{cause, err}
	case err == nil && bytes.Equal(stored.Text, e.sent.Text):
	case cmd.Context().Err() != nil:
		return &keptError{cause, errors.New("the document may still be on its way to the registry")}
	default:
		return cause // it was refused, or somebody has applied another one since
	}
	before := &api.Document{File: e.before.File, Text: e.before.Text}
	if err := e.apply(ctx, cmd.ErrOrStderr(), before); err != nil {
		return &keptError{cause, err}
	}
	if e.written {
		if err := replaceFile(e.file, before.Text); err != nil {
			return &unwrittenError{e.file, err}
		}
	}
	return fmt.Errorf("%w; the document is as it was", cause)
}
