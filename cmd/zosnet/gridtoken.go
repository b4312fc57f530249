package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/zosnet/zosnet/pkg/api"
)

func gridTokenCommand(o *options) *cobra.Command {
	period := time.Hour
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make a token with which one node may join, list and revoke them",
		Long: `Make a token with which one node may join this node's grid, once, before it
expires. It is a password: carry it as you would carry one. Nobody can show it
again. One that went astray is taken back by revoke.`,
		Example: "  zosnet grid token\n  zosnet grid token --for 10m > token\n  zosnet grid token ls",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(o, cmd, "making a token", (*api.Client).MakeToken, &api.MakeTokenRequest{Seconds: int64(period / time.Second)}, func(w io.Writer, token *api.JoinToken) { fmt.Fprintln(w, token.Token) })
		},
	}
	cmd.Flags().DurationVar(&period, "for", period, "how long it is good for, at most 168h")
	cmd.AddCommand(gridTokenListCommand(o), gridTokenRevokeCommand(o))
	return cmd
}

func gridTokenListCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the tokens that this node made",
		Long: `List the tokens that this node made, until a day after they expired: what became of
them, not what they are.`,
		Example: "  zosnet grid token ls\n  zosnet grid token ls -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(o, cmd, asking, (*api.Client).ListTokens, &api.ListTokensRequest{}, func(w io.Writer, list *api.JoinTokenList) {
				t := newTable(w, "token", "expires", "state")
				for _, token := range list.Tokens {
					t.AppendRow([]any{token.Id, shortTime(token.Expires), tokenState(token)})
				}
				t.Render()
			})
		},
	}
}

// tokenState says what became of a token.
func tokenState(t *api.PendingToken) string {
	switch {
	case t.Node != "":
		return fmt.Sprintf("used by %s, %s", t.Node, shortTime(t.Used))
	case t.Expired:
		return "expired"
	}
	return "unused"
}

func gridTokenRevokeCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke ID|TOKEN",
		Short: "Take an unused token back, at once",
		Long: `Take an unused token back, at once: who has it reaches nothing of the grid any more,
and is let in by nobody. Ask the node that made it. It is named by the id that ls
shows, or by itself; "-" reads it from standard input. A node that has joined with
it already is taken out by zosnet node remove.`,
		Example: "  zosnet grid token revoke 3f9a2c51d07be846\n  zosnet grid token revoke - < token",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			token, err := tokenOf(cmd, args[0])
			if err != nil {
				return err
			}
			client, err := o.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			return progress(cmd, "revoking the token", func() error {
				_, err := client.RevokeToken(cmd.Context(), &api.RevokeTokenRequest{Token: token})
				return err
			})
		},
	}
}

// tokenOf gives the token that an argument names; "-" reads it from standard input, so
// that it is in no list of processes.
func tokenOf(cmd *cobra.Command, arg string) (string, error) {
	if arg != "-" {
		return arg, nil
	}
	text, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), 64<<10))
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}
