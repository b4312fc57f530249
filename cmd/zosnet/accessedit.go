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
)

// accessEdit changes the access of one network by its document.
type accessEdit struct {
	o       *options
	network string
	file    string // the document; empty: the stored one
	key     string // the owner's
	client  *api.Client

	before  *api.Document // as it was
	sent    *api.Document // as it was sent to be applied; nil: not yet
	written bool          // into its file
}

// unwrittenError says that what was applied stands in no file.
type unwrittenError struct {
	path string
	err  error
}

func (e *unwrittenError) Error() string {
	return fmt.Sprintf("write %s, whose change is applied: %v", e.path, e.err)
}

func (e *unwrittenError) Unwrap() error { return e.err }

func (e *accessEdit) register(cmd *cobra.Command) {
	e.o.requireNetwork(cmd, &e.network)
	cmd.Flags().StringVarP(&e.file, "filename", "f", "", "the network's document, which is applied and written; else the stored one")
	cmd.Flags().StringVar(&e.key, "key", defaultKeyFile(), "the owner's key, which signs in a grid; also $ZOSNET_KEY")
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
			if err := edit.open(cmd.Context()); err != nil {
				return err
			}
			defer edit.client.Close()
			err := edit.change(cmd, "revoking "+args[0], func(file string, text []byte) ([]byte, error) {
				edited, err := spec.WithoutAccess(file, text, args[0])
				if err != nil {
					return nil, &badDocument{err}
				}
				return edited, nil
			})
			if err != nil {
				return err
			}
			revoked := &api.AccessDevice{Network: edit.network, Name: args[0]}
			return o.print(cmd, revoked, func(w io.Writer) { fmt.Fprintf(w, "revoked %s of network %s\n", args[0], edit.network) })
		},
	}
	edit.register(cmd)
	return cmd
}

func (e *accessEdit) open(ctx context.Context) (err error) {
	e.client, err = e.o.dial(ctx)
	return err
}

// change applies a changed document. Its file is written when that is done.
func (e *accessEdit) change(cmd *cobra.Command, doing string, edit func(file string, text []byte) ([]byte, error)) (err error) {
	if e.before, err = e.document(cmd.Context()); err != nil {
		return err
	}
	changed := &api.Document{File: e.before.File}
	if changed.Text, err = edit(e.before.File, e.before.Text); err != nil {
		return err
	}
	err = progress(cmd, doing, func() error { return e.apply(cmd.Context(), cmd.ErrOrStderr(), changed) })
	if err != nil {
		return err
	}
	if e.file == "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "the stored document is changed; %s is not: next time name it with -f, or it undoes this when it is applied\n", changed.File)
		return nil
	}
	if err := replaceFile(e.file, changed.Text); err != nil {
		return &unwrittenError{e.file, err}
	}
	e.written = true
	return nil
}

// apply signs a document where that is needed, and applies it.
func (e *accessEdit) apply(ctx context.Context, warnings io.Writer, document *api.Document) error {
	owner := &signer{client: e.client, file: e.key}
	if err := owner.signDocument(ctx, document); err != nil {
		return err
	}
	e.sent = document
	response, err := e.client.Apply(ctx, &api.ApplyRequest{Documents: []*api.Document{document}})
	if err != nil {
		return err
	}
	for _, warning := range response.Warnings {
		fmt.Fprintln(warnings, "warning:", warning)
	}
	return nil
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
		return err
	}
	next, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
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
	}
	return err
}
