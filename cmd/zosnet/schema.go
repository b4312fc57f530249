package main

import (
	"github.com/spf13/cobra"

	"github.com/zosnet/zosnet/pkg/spec"
)

func schemaCommand() *cobra.Command {
	show := func(use, short string, schema func() []byte) *cobra.Command {
		return &cobra.Command{
			Use:     use,
			Short:   short,
			Example: "  zosnet schema " + use + " > " + use + ".schema.json",
			Args:    cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				_, err := cmd.OutOrStdout().Write(schema())
				return err
			},
		}
	}
	return group(&cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON Schema of a document",
		Example: "  zosnet schema network > network.schema.json",
	},
		show("node", "Print the JSON Schema of node.yaml", spec.NodeSchema),
		show("network", "Print the JSON Schema of NETWORK.yaml", spec.NetworkSchema),
	)
}
