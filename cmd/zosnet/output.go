package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"
	"golang.org/x/term"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/zosnet/zosnet/pkg/api"
)

// asking is what is being done where nothing but an answer is waited for.
const asking = "asking the daemon"

// show makes a call of the daemon's interface and prints the answer, for people by
// people. Doing is what they are told if they have to wait.
func show[Q any, A proto.Message](o *options, cmd *cobra.Command, doing string,
	call func(*api.Client, context.Context, Q, ...grpc.CallOption) (A, error), request Q, people func(io.Writer, A)) error {
	client, err := o.dial(cmd.Context())
	if err != nil {
		return err
	}
	defer client.Close()
	var answer A
	err = progress(cmd, doing, func() (err error) {
		answer, err = call(client, cmd.Context(), request)
		return err
	})
	if err != nil {
		return err
	}
	return o.print(cmd, answer, func(w io.Writer) { people(w, answer) })
}

// print writes a message as the user asked for it; people is how people read it.
func (o *options) print(cmd *cobra.Command, m proto.Message, people func(w io.Writer)) error {
	out := cmd.OutOrStdout()
	switch o.format {
	case "json":
		line, err := api.JSON(m)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "%s\n", line)
		return err
	case "yaml":
		document, err := api.YAML(m)
		if err != nil {
			return err
		}
		_, err = out.Write(document)
		return err
	}
	var page strings.Builder
	people(&page)
	_, err := io.WriteString(out, page.String())
	return err
}

// newTable begins a table without lines, with a header.
func newTable(w io.Writer, header ...any) table.Writer {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	style := table.StyleLight
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Format.Header = text.FormatUpper
	if coloured() {
		style.Color.Header = text.Colors{text.Bold}
	}
	t.SetStyle(style)
	t.AppendHeader(header)
	t.SuppressTrailingSpaces()
	return t
}

// coloured says whether standard output shows colours (https://no-color.org).
func coloured() bool {
	return term.IsTerminal(int(os.Stdout.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// good and bad colour a word on a terminal.
func good(word string) string { return paint(text.FgGreen, word) }
func bad(word string) string  { return paint(text.FgRed, word) }

func paint(color text.Color, word string) string {
	if !coloured() {
		return word
	}
	return color.Sprint(word)
}

// shortTime gives a time of the API to the second, on the clock of who asks.
func shortTime(text string) string {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return orDash(text)
	}
	return t.Local().Format(time.DateTime)
}

// orDash shows that there is nothing.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
