package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/zosnet/zosnet/pkg/api"
)

func monitorCommand(o *options) *cobra.Command {
	request := &api.MonitorRequest{}
	var path string
	cmd := &cobra.Command{
		Use:   "monitor [--drops] [--pcap FILE]",
		Short: "Show what the datapath drops, logs and learns, as it happens",
		Long: `Show what the datapath drops, logs (rules with log: true) and learns (a VM's
addresses), one line each, until interrupted.`,
		Example: `  zosnet monitor --drops
  zosnet monitor --drops -o json | jq .reason
  zosnet monitor --pcap drops.pcapng`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			request.Frames = path != ""
			client, err := o.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			stream, err := client.Monitor(cmd.Context(), request)
			if err != nil {
				return err
			}
			if _, err := stream.Header(); err != nil { // it has begun
				return err
			}
			show, err := o.eventPrinter(cmd)
			if err != nil {
				return err
			}
			if path != "" {
				file, err := newCapture(path)
				if err != nil {
					return err
				}
				defer func() { err = errors.Join(err, file.Close()) }()
				show = both(file.write, show)
			}
			return follow(cmd.Context(), stream, show)
		},
	}
	cmd.Flags().BoolVar(&request.Drops, "drops", false, "only drops")
	cmd.Flags().StringVar(&path, "pcap", "", "also write the frames' first bytes to this pcapng file")
	return cmd
}

// follow shows events until the user interrupts or the daemon goes.
func follow(ctx context.Context, stream grpc.ServerStreamingClient[api.Event], show func(*api.Event) error) error {
	for {
		event, err := stream.Recv()
		if err == nil {
			err = show(event)
		}
		if ctx.Err() != nil || errors.Is(err, io.EOF) {
			return nil //nolint:nilerr // interrupting is how one ends it
		}
		if err != nil {
			return err
		}
	}
}

// both hands an event to a capture, and without its frame to what prints it.
func both(write, show func(*api.Event) error) func(*api.Event) error {
	return func(e *api.Event) error {
		if err := write(e); err != nil {
			return err
		}
		e.Frame = nil
		return show(e)
	}
}

// eventPrinter gives what prints one event: a line of JSON, a YAML document or
// a line for people.
func (o *options) eventPrinter(cmd *cobra.Command) (func(*api.Event) error, error) {
	out := cmd.OutOrStdout()
	if o.format == "yaml" {
		return func(e *api.Event) error {
			if _, err := io.WriteString(out, "---\n"); err != nil {
				return err
			}
			return o.print(cmd, e, nil)
		}, nil
	}
	if o.format == "table" {
		_, err := fmt.Fprintf(out, "%-15s %-5s %-24s %-12s %-15s %s\n", "TIME", "KIND", "REASON", "NETWORK", "INTERFACE", "FROM > TO")
		if err != nil {
			return nil, err
		}
	}
	return func(e *api.Event) error { return o.print(cmd, e, func(w io.Writer) { showEvent(w, e) }) }, nil
}

func showEvent(w io.Writer, e *api.Event) {
	if e.Lost > 0 {
		fmt.Fprintf(w, "… %d events lost: they came faster than they were read\n", e.Lost)
	}
	clock := e.Time
	if t, err := time.Parse(time.RFC3339Nano, e.Time); err == nil {
		clock = t.Local().Format("15:04:05.000000")
	}
	what := e.Reason
	switch e.Kind {
	case "log":
		what = e.Verdict
	case "learn":
		what = "by " + e.Workload
	}
	fmt.Fprintf(w, "%-15s %-5s %-24s %-12s %-15s %s", clock, e.Kind, bad(what), orDash(e.Network), orDash(e.Interface), ends(e))
	if e.Rule != "" {
		fmt.Fprintf(w, "  %s", e.Rule)
	}
	fmt.Fprintln(w)
}

// ends says who sent what to whom.
func ends(e *api.Event) string {
	if e.Src == "" {
		return strings.TrimSpace(fmt.Sprintf("%s %s", e.Mac, e.EtherType))
	}
	if e.Kind == "learn" {
		return e.Src
	}
	var s strings.Builder
	fmt.Fprintf(&s, "%s %s > %s", e.Proto, endpoint(e.Src, e.Sport), endpoint(e.Dst, e.Dport))
	if e.IcmpType != nil {
		fmt.Fprintf(&s, " type %d", *e.IcmpType)
	}
	return s.String()
}

func endpoint(address string, port uint32) string {
	switch {
	case port == 0:
		return address
	case strings.Contains(address, ":"):
		return fmt.Sprintf("[%s]:%d", address, port)
	}
	return fmt.Sprintf("%s:%d", address, port)
}
