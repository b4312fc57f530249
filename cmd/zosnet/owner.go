package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/zosnet/zosnet/pkg/api"
)

func ownerCommand(o *options) *cobra.Command {
	return group(&cobra.Command{
		Use:     "owner",
		Short:   "Show who owns networks' names on this node, and forget who does",
		Example: "  zosnet owner ls\n  zosnet owner forget acme",
	}, ownerListCommand(o), ownerForgetCommand(o))
}

func ownerListCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the owners that this node has pinned",
		Long: `List the owners that this node has pinned: the first one whose document of a network
it has seen. Another's document is refused here until the owner releases the name, or
is forgotten.`,
		Example: "  zosnet owner ls\n  zosnet owner ls -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := o.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			list, err := client.ListOwners(cmd.Context(), &api.ListOwnersRequest{})
			if err != nil {
				return err
			}
			return o.print(cmd, list, func(w io.Writer) {
				t := newTable(w, "network", "owner", "revision", "here", "name")
				for _, p := range list.Owners {
					t.AppendRow([]any{p.Network, p.Owner, p.Revision, yesNo(p.Here), nameText(p)})
				}
				t.Render()
			})
		},
	}
}

func yesNo(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}

// nameText says whether somebody else may have a name.
func nameText(p *api.PinnedOwner) string {
	if p.Free {
		return "free"
	}
	return "owned"
}

func ownerForgetCommand(o *options) *cobra.Command {
	request := &api.ForgetOwnerRequest{}
	cmd := &cobra.Command{
		Use:   "forget NETWORK",
		Short: "Let another owner have a network's name on this node",
		Long: `Forget who owns a network's name, on this node and nowhere else: for when the owner has
lost the key, or has taken the name by mistake. An owner who still has the key releases
the name with zosnet delete instead, on all nodes at once.

Afterwards the first document above the last revision that was seen here takes the name,
whoever of those has signed it whom accept in node.yaml lets in. Documents that were
signed before stay refused. What the network has here goes on as its last document says
until then, and from then on as the new owner's says: its workloads, too.

It is done on every node that has pinned the owner, by who runs it; the new owner then
applies a document on one of them.`,
		Example:           "  zosnet owner forget acme\n  zosnet owner forget acme --force",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: o.names(networkName),
		RunE: func(cmd *cobra.Command, args []string) error {
			request.Network = args[0]
			client, err := o.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			var forgotten *api.PinnedOwner
			err = progress(cmd, "forgetting the owner of "+request.Network, func() (err error) {
				forgotten, err = client.ForgetOwner(cmd.Context(), request)
				return err
			})
			if err != nil {
				return err
			}
			return o.print(cmd, forgotten, func(w io.Writer) { showForgotten(w, forgotten) })
		},
	}
	cmd.Flags().BoolVar(&request.Force, "force", false, "also while the network runs on this node")
	return cmd
}

// showForgotten says what it means.
func showForgotten(w io.Writer, p *api.PinnedOwner) {
	fmt.Fprintf(w, "network %s is no more %s's on this node\n", p.Network, p.Owner)
	who := "anybody, since accept in node.yaml names nobody"
	if len(p.Accept) > 0 {
		who = "one of accept in node.yaml: " + strings.Join(p.Accept, ", ")
	}
	fmt.Fprintf(w, "who applies it next, above revision %d, owns it here: %s\n", p.Revision, who)
	if p.Here {
		fmt.Fprintln(w, "until then it goes on here as its last document says")
	}
}
