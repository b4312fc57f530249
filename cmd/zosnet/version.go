package main

import (
	"fmt"
	"io"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/zosnet/zosnet/pkg/api"
)

// version is set at build time: -ldflags "-X main.version=v1.2.3".
var version string

// built names what was built: the release, else the commit, else "devel".
func built() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return "devel"
}

func versionCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version of this program",
		Example: "  zosnet version",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.print(cmd, &api.Version{Version: built()}, func(w io.Writer) { fmt.Fprintln(w, "zosnet", built()) })
		},
	}
}
