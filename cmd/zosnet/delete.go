package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/trust"
)

func deleteCommand(o *options) *cobra.Command {
	request := &api.DeleteRequest{}
	var key string
	cmd := &cobra.Command{
		Use:               "delete NETWORK",
		Short:             "Remove a network and all that it made",
		Example:           "  zosnet delete acme\n  zosnet delete acme --force",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: o.names(networkName),
		RunE: func(cmd *cobra.Command, args []string) error {
			request.Network = args[0]
			client, err := o.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			owner := &signer{client: client, file: key}
			request.Signature, err = owner.sign(cmd.Context(), args[0], func(key *trust.OwnerKey, revision uint64) (trust.Document, error) {
				return key.Release(args[0], revision)
			})
			if err != nil {
				return err
			}
			var response *api.DeleteResponse
			err = progress(cmd, "deleting "+args[0], func() (err error) {
				response, err = client.Delete(cmd.Context(), request)
				return err
			})
			if err != nil {
				return err
			}
			return o.print(cmd, response, func(w io.Writer) {
				fmt.Fprintf(w, "deleted network %s\n", response.Network)
				if len(response.Detached) > 0 {
					fmt.Fprintf(w, "detached %s\n", strings.Join(response.Detached, ", "))
				}
			})
		},
	}
	cmd.Flags().StringVar(&key, "key", defaultKeyFile(), "the owner's key, which signs in a grid; also $ZOSNET_KEY")
	cmd.Flags().BoolVar(&request.Force, "force", false, "detach its workloads first")
	return cmd
}
