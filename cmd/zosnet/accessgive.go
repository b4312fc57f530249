package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/wireguard"
)

// giveAccess prints a device's configuration, says what of an older one is not so any
// more, and has the node remember what was given out.
func (o *options) giveAccess(cmd *cobra.Command, client *api.Client, d *api.AccessDevice, key wireguard.PrivateKey, code bool) error {
	if err := o.printAccess(cmd, d, key, code); err != nil {
		return err
	}
	if len(d.Outdated) > 0 {
		w := cmd.ErrOrStderr()
		fmt.Fprintf(w, "the configuration of %s that was given out %s is out of date:\n", d.Name, shortTime(d.Given))
		for _, change := range d.Outdated {
			fmt.Fprintf(w, "  %s\n", change)
		}
		fmt.Fprintf(w, "%s must take this one in its place\n", d.Name)
	}
	// What is printed is good also where this is not remembered.
	if _, err := client.GiveAccess(cmd.Context(), &api.GiveAccessRequest{Device: d}); err != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "warning: zosnet access ls will not tell when this configuration is out of date: %v\n", err)
	}
	return nil
}

// configurationOf says whether what a person has been given is still right.
func configurationOf(d *api.AccessDevice) string {
	switch {
	case d.Given == "":
		return "-"
	case len(d.Outdated) > 0:
		return bad("out of date")
	}
	return "as given"
}
