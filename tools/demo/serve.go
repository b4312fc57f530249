package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
)

// serveVerb runs this program as a web server, so that servers are processes
// of their own and outlive the demo where it is kept.
const serveVerb = "serve"

// serve answers every request at address with who it is, until killed.
func serve(address, name string) error {
	server := http.Server{
		Addr:              address,
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprintf(w, "I am %s, you are %s\n", name, r.RemoteAddr)
		}),
	}
	return server.ListenAndServe()
}

// startServer starts a web server on a machine and waits until the machine
// itself gets its page.
func (b *board) startServer(ctx context.Context, on *lab.Machine, at netip.AddrPort) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	// No context: the lab ends it, or nobody does where the lab is kept.
	cmd := on.Command(context.Background(), self, serveVerb, at.String(), on.Name)
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	cmd.Stdout, cmd.Stderr = io.Discard, nil
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start a web server on %s: %w", on.Name, err)
	}
	go func() { _ = cmd.Wait() }()
	ctx, cancel := context.WithTimeout(ctx, b.slow(5*time.Second))
	defer cancel()
	for {
		_, outcome, last := probe.Get(ctx, on, at, b.slow(time.Second))
		if outcome == probe.Answered {
			return nil
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("the web server at %v on %s does not answer: %s %w", at, on.Name, outcome, errors.Join(last, err))
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
