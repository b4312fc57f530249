package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"

	"github.com/zosnet/zosnet/pkg/trust"
)

func keyCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "key",
		Short:   "Make or show the key that owns networks",
		Example: "  zosnet key new\n  zosnet key show",
	}
	var file string
	cmd.PersistentFlags().StringVar(&file, "file", defaultKeyFile(), "the private key; also $ZOSNET_KEY")
	return group(cmd, keyNewCommand(o, &file), keyShowCommand(o, &file))
}

// defaultKeyFile is where an owner's key lies unless one says otherwise. It is
// empty where the user has no directory for it.
func defaultKeyFile() string {
	if file := os.Getenv("ZOSNET_KEY"); file != "" {
		return file
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "zosnet", "owner.key")
}

func keyNewCommand(o *options, file *string) *cobra.Command {
	return &cobra.Command{
		Use:   "new",
		Short: "Make a key that owns networks, and print its public half",
		Long: `Make an ed25519 key that signs network documents. The private key goes to a file
that only you can read, and is never printed; the public key is what node.yaml
names under accept. Whoever first registers a network's name owns it: keep a copy
of the file in a safe place, since nobody can make it again.

A file that is there already is left as it is.`,
		Example: "  zosnet key new\n  zosnet key new --file acme.key",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, err := makeOwnerKey(*file)
			if err != nil {
				return err
			}
			return o.printKey(cmd, *file, key)
		},
	}
}

func keyShowCommand(o *options, file *string) *cobra.Command {
	return &cobra.Command{
		Use:     "show",
		Short:   "Print the public half of a key that owns networks",
		Example: "  zosnet key show\n  zosnet key show --file acme.key -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, err := readOwnerKey(*file)
			if err != nil {
				return err
			}
			return o.printKey(cmd, *file, key)
		},
	}
}

func makeOwnerKey(file string) (*trust.OwnerKey, error) {
	if file == "" {
		return nil, errNoKeyFile
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the key: %w", err)
	}
	key, err := trust.NewOwnerKey()
	if err != nil {
		return nil, err
	}
	text, err := key.PEM()
	if err != nil {
		return nil, err
	}
	err = trust.WritePrivate(file, text)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("there is a key in %s already, and it may own networks: zosnet key show prints it; name another file with --file", file)
	}
	return key, err
}

var errNoKeyFile = errors.New("there is no home directory to keep the key in: name a file with --file")

func readOwnerKey(file string) (*trust.OwnerKey, error) {
	if file == "" {
		return nil, errNoKeyFile
	}
	text, err := trust.ReadPrivate(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no key in %s: make one with zosnet key new, or name the file with --file", file)
	}
	if err != nil {
		return nil, err
	}
	key, err := trust.ParseOwnerKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return key, nil
}

// printKey prints the public half of a key.
func (o *options) printKey(cmd *cobra.Command, file string, key *trust.OwnerKey) error {
	path, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	text := []byte(key.Owner().String() + "\n")
	shown := struct {
		PublicKey string `json:"publicKey" yaml:"publicKey"`
		File      string `json:"file" yaml:"file"`
	}{key.Owner().String(), path}
	switch o.format {
	case "json":
		text, err = json.Marshal(shown)
		text = append(text, '\n')
	case "yaml":
		text, err = yaml.Dump(shown)
	}
	if err != nil {
		return err
	}
	_, err = cmd.OutOrStdout().Write(text)
	return err
}
