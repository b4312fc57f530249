package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/spec"
	"github.com/zosnet/zosnet/pkg/wireguard"
)

// accessEdit changes the access of one network by its document.
type accessEdit struct {
	o       *options
	network string
	file    string // the document; empty: the stored one
	key     string // the owner's
	client  *api.Client
}

func (e *accessEdit) register(cmd *cobra.Command) {
	e.o.requireNetwork(cmd, &e.network)
	cmd.Flags().StringVarP(&e.file, "filename", "f", "", "the network's document, which is applied and written; else the stored one")
	cmd.Flags().StringVar(&e.key, "key", defaultKeyFile(), "the owner's key, which signs in a grid; also $ZOSNET_KEY")
}

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
			device, err := edit.add(cmd, a)
			if err != nil {
				return err
			}
			return o.printAccess(cmd, device, private, code)
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

// add adds a device and gives it as it is then.
func (e *accessEdit) add(cmd *cobra.Command, a spec.Access) (device *api.AccessDevice, err error) {
	err = e.change(cmd, "letting "+a.Name+" in", func(file string, text []byte) ([]byte, error) {
		edited, err := spec.WithAccess(file, text, a)
		if err == nil {
			err = e.carriedHere(cmd.Context(), file, edited)
		}
		return edited, err
	})
	if err != nil {
		return nil, err
	}
	defer e.client.Close()
	err = progress(cmd, "waiting for the node where it ends", func() (err error) {
		device, err = awaitAccess(cmd.Context(), e.client, &api.ShowAccessRequest{Network: e.network, Name: a.Name})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s is in the document of network %s, but cannot join yet: %w; "+
			"once that is put right, zosnet access show prints the rest of its configuration, or revoke it and add it again", a.Name, e.network, err)
	}
	return device, nil
}

// carriedHere refuses a document of which this node will know too little: a key that
// was made for a device would be lost before its configuration is known.
func (e *accessEdit) carriedHere(ctx context.Context, file string, text []byte) error {
	network, _, err := spec.DecodeNetwork(file, text)
	if err != nil {
		return err
	}
	status, err := e.client.Status(ctx, &api.StatusRequest{})
	if err != nil {
		return err
	}
	if !network.CarriedBy(status.Node) {
		return fmt.Errorf("node %s has no part of network %s: do it at one of %v", status.Node, network.Name, network.Carriers())
	}
	return nil
}

func accessRevokeCommand(o *options) *cobra.Command {
	edit := &accessEdit{o: o}
	cmd := &cobra.Command{
		Use:   "revoke NAME --network NETWORK",
		Short: "Take a device's access away, its live session too",
		Long: `Take a device's entry out of its network's document, which is applied as by zosnet
apply: where it ends its session is cut. Rules that name it have to go first.`,
		Example: "  zosnet access revoke alice --network acme",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			err := edit.change(cmd, "revoking "+args[0], func(file string, text []byte) ([]byte, error) {
				return spec.WithoutAccess(file, text, args[0])
			})
			if err != nil {
				return err
			}
			edit.client.Close()
			revoked := &api.AccessDevice{Network: edit.network, Name: args[0]}
			return o.print(cmd, revoked, func(w io.Writer) { fmt.Fprintf(w, "revoked %s of network %s\n", args[0], edit.network) })
		},
	}
	edit.register(cmd)
	return cmd
}

// change applies a changed document. Its file is written when that is done; e.client is
// open then.
func (e *accessEdit) change(cmd *cobra.Command, doing string, edit func(file string, text []byte) ([]byte, error)) (err error) {
	if e.client, err = e.o.dial(cmd.Context()); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			e.client.Close()
		}
	}()
	document, err := e.document(cmd.Context())
	if err != nil {
		return err
	}
	if document.Text, err = edit(document.File, document.Text); err != nil {
		return &badDocument{err}
	}
	owner := &signer{client: e.client, file: e.key}
	if err := owner.signDocument(cmd.Context(), document); err != nil {
		return err
	}
	var response *api.ApplyResponse
	err = progress(cmd, doing, func() (err error) {
		response, err = e.client.Apply(cmd.Context(), &api.ApplyRequest{Documents: []*api.Document{document}})
		return err
	})
	if err != nil {
		return err
	}
	for _, warning := range response.Warnings {
		fmt.Fprintln(cmd.ErrOrStderr(), "warning:", warning)
	}
	if e.file == "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "the stored document is changed; %s is not: next time name it with -f, or it undoes this when it is applied\n", document.File)
		return nil
	}
	return replaceFile(e.file, document.Text)
}

// document reads what is to be changed, of the network that is meant.
func (e *accessEdit) document(ctx context.Context) (*api.Document, error) {
	if e.file == "" {
		return e.client.GetDocument(ctx, &api.GetDocumentRequest{Network: e.network})
	}
	document, err := readDocument(e.file)
	if err != nil {
		return nil, err
	}
	network, _, err := spec.DecodeNetwork(document.File, document.Text)
	if err != nil {
		return nil, &badDocument{err}
	}
	if network.Name != e.network {
		return nil, &badDocument{fmt.Errorf("%s is the document of network %s, not of %s", e.file, network.Name, e.network)}
	}
	return document, nil
}

// replaceFile gives a file another text in one step, and leaves its mode.
func replaceFile(path string, text []byte) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("write the changed document, which is applied: %w", err)
	}
	next, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write the changed document, which is applied: %w", err)
	}
	_, err = next.Write(text)
	if closed := next.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Chmod(next.Name(), info.Mode().Perm())
	}
	if err == nil {
		err = os.Rename(next.Name(), path)
	}
	if err != nil {
		_ = os.Remove(next.Name())
		return fmt.Errorf("write the changed document, which is applied: %w", err)
	}
	return nil
}
