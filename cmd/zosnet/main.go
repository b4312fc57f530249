// Command zosnet is the daemon of a node and the command line to it. It parses
// flags, asks the daemon and prints; what anything means is for the packages.
package main

import (
	"context"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	return execute(ctx, rootCommand())
}
