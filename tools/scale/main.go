// Command scale simulates a grid of many nodes and tells what they and its registry
// have to carry, and how long a change takes until the last node has planned it.
//
// The registry is a real member of a grid, in a process of its own. A node is what of
// a daemon the grid's size bears on: the real client of the registry, with a
// certificate, a TLS connection, a lease and a cache of its own, and the real plan,
// computed whole at each change as the daemon does. All nodes are in one process, which
// shares between them its memory allocator, its processors and the documents that it
// decodes; what a node has in memory is counted per node. Nodes have no kernel and no
// registry of their own here. Everything is in a network namespace that is gone with
// the program, and its caches are in memory.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// options say how large a grid is simulated.
type options struct {
	nodes    int
	networks int
	span     int           // nodes of each network
	rate     int           // changes a second
	period   time.Duration // for which there are changes
	patience time.Duration // for everything else
}

func main() {
	if text := os.Getenv(asMember); text != "" {
		exit(serve(text))
	}
	var o options
	flag.IntVar(&o.nodes, "nodes", 1000, "nodes of the grid")
	flag.IntVar(&o.networks, "networks", 5000, "networks")
	flag.IntVar(&o.span, "span", 8, "nodes of each network")
	flag.IntVar(&o.rate, "rate", 50, "changes a second: documents that are applied")
	flag.DurationVar(&o.period, "for", time.Minute, "how long there are changes")
	flag.DurationVar(&o.patience, "patience", 30*time.Minute, "how long everything else may take")
	flag.Parse()
	if os.Getenv(inNamespace) == "" {
		exit(again())
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	r, err := simulate(ctx, o, func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) })
	if err == nil {
		r.print(os.Stdout)
	}
	exit(err)
}

func exit(err error) {
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// inNamespace is set in the process that has namespaces of its own.
const inNamespace = "ZOSNET_SCALE"

// again runs this program in network and mount namespaces of its own.
func again() error {
	if os.Geteuid() != 0 {
		return errors.New("making a network namespace needs root: run it with sudo")
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	return cmd.Run()
}
