// Command demo shows zosnet at work: a node that cannot be seen, with two
// tenant networks on it whose services reach exactly what their rules say; and
// three nodes, one of them at home behind NAT, that become a grid and carry one
// network, which a person joins from her laptop. It prints one table, what was
// expected beside what was observed, and exits 1 if a line differs.
//
// Everything in it is real: namespaces, the daemon, web servers, nmap,
// crafted frames. It must not know more of zosnet than its command line.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/test/lab"
)

func main() {
	if len(os.Args) == 4 && os.Args[1] == serveVerb {
		fail(serve(os.Args[2], os.Args[3]))
		return
	}
	var o options
	flag.StringVar(&o.zosnet, "zosnet", "build/zosnet", "the zosnet binary to show")
	flag.StringVar(&o.wireguard, "wireguard-go", "build/wireguard-go", "WireGuard for the laptop, used where the kernel has none")
	flag.BoolVar(&o.keep, "keep", false, "leave everything running, and print how to look around")
	flag.StringVar(&o.name, "name", "demo", "the lab's name; that of three nodes is NAME-grid")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	fail(run(ctx, o))
}

type options struct {
	name              string
	zosnet, wireguard string // paths of the binaries
	keep              bool
}

func fail(err error) {
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

var errDiffers = errors.New("what was observed differs from what was expected")

func run(ctx context.Context, o options) error {
	if os.Geteuid() != 0 {
		return errors.New("making network namespaces needs root: run it with sudo")
	}
	for _, path := range []*string{&o.zosnet, &o.wireguard} {
		full, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		if _, err := os.Stat(full); err != nil {
			return fmt.Errorf("a binary is missing (make demo makes it): %w", err)
		}
		*path = full
	}
	began := time.Now()
	labs, err := newLabs(ctx, o)
	if err != nil {
		return err
	}
	b := &board{pace: 1}
	err = labs.show(ctx, b)
	if o.keep && err == nil {
		printTable(os.Stdout, b.sections)
		printTour(os.Stdout, labs)
		return errors.Join(verdict(b.sections), labs.release())
	}
	closed := labs.close()
	if err != nil {
		return errors.Join(err, closed)
	}
	b.sections = append(b.sections, section{"Afterwards", []result{leftBehind(o.name, closed)}})
	printTable(os.Stdout, b.sections)
	fmt.Printf("%d lines in %v\n", count(b.sections), time.Since(began).Round(100*time.Millisecond))
	return verdict(b.sections)
}

// labs are the two that are shown.
type labs struct {
	node *lab.Lab
	grid *lab.Grid
}

func newLabs(ctx context.Context, o options) (labs, error) {
	node, err := lab.New(ctx, lab.Config{Name: o.name, Zosnet: o.zosnet, Keep: o.keep})
	if err != nil {
		return labs{}, err
	}
	// While the one node's daemon runs, it is this process's turn to have daemons.
	grid, err := lab.NewGrid(ctx, lab.GridConfig{
		Name: o.name + "-grid", Zosnet: o.zosnet, Nodes: lab.ThreeNodes, Laptop: true, WireGuard: o.wireguard, Keep: o.keep, OwnNames: true,
	})
	if err != nil {
		return labs{}, errors.Join(err, node.Close())
	}
	return labs{node, grid}, nil
}

func (l labs) show(ctx context.Context, b *board) error {
	if err := showNode(ctx, b, l.node); err != nil {
		return err
	}
	return showGrid(ctx, b, l.grid)
}

func (l labs) close() error { return errors.Join(l.grid.Close(), l.node.Close()) }

func (l labs) release() error { return errors.Join(l.grid.Release(), l.node.Release()) }

func verdict(all []section) error {
	for _, s := range all {
		for _, r := range s.results {
			if !r.ok() {
				return errDiffers
			}
		}
	}
	return nil
}

// leftBehind is the demo's last line: it looks for what it made.
func leftBehind(name string, closed error) result {
	r := result{what: "what the demo leaves on this machine", want: "nothing", got: "nothing", err: closed}
	for _, pattern := range []string{
		"/run/netns/zl-" + name + "-*", "/etc/netns/zl-" + name + "-*",
		"/run/netns/" + acme + ".*", "/run/netns/" + globex + ".*", "/run/netns/" + shop + ".*",
		filepath.Join(lab.Dir, name+"*", "*"),
	} {
		if found, err := filepath.Glob(pattern); err != nil || len(found) > 0 {
			r.got = fmt.Sprint(found, err)
		}
	}
	return r
}
