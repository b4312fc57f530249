// Command bench measures zosnet beside what the kernel has to offer, with real
// packets between network namespaces, and prints one table of ratios.
//
// What is compared is measured in turns within one run, so that a busy machine
// slows all of it down alike. Everything is set up by the program and gone when it
// ends. It must not know more of zosnet than its command line.
package main

//go:generate go tool bpf2go -cc clang-16 -strip llvm-strip-16 -target amd64,arm64 -cflags "-O2 -g -Wall -Werror -mcpu=v3 -I/usr/include/x86_64-linux-gnu" -type limit traffic bpf/traffic.bpf.c

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	zosnet := flag.String("zosnet", "build/zosnet", "the zosnet binary to measure")
	rounds := flag.Int("rounds", 15, "how often everything is measured")
	span := flag.Duration("for", 300*time.Millisecond, "how long each measurement takes")
	only := flag.String("only", "", "measure only comparisons whose name holds this")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	err := run(ctx, *zosnet, *only, *rounds, *span)
	stop()
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, zosnet, only string, rounds int, span time.Duration) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("making network namespaces needs root: run it with sudo")
	}
	if rounds < 1 {
		return fmt.Errorf("-rounds %d: want at least 1", rounds)
	}
	path, err := filepath.Abs(zosnet)
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("no zosnet binary (make build makes it): %w", err)
	}
	b := &bench{span: span}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.setUp(ctx, path); err != nil {
		return err
	}
	b.comparisons = slices.DeleteFunc(b.comparisons, func(c *comparison) bool { return !strings.Contains(c.name, only) })
	for i := range rounds {
		_, _ = fmt.Fprintf(os.Stderr, "round %d of %d\n", i+1, rounds)
		for _, c := range b.comparisons {
			if err := c.measure(ctx); err != nil {
				return err
			}
		}
	}
	b.print(os.Stdout)
	return nil
}
