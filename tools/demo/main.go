// Command demo shows zosnet at work: a node that cannot be seen, with two
// tenant networks on it whose services reach exactly what their rules say. It
// prints one table, what was expected beside what was observed, and exits 1 if
// a line differs.
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
	zosnet := flag.String("zosnet", "build/zosnet", "the zosnet binary to show")
	keep := flag.Bool("keep", false, "leave everything running, and print how to look around")
	name := flag.String("name", "demo", "the lab's name")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	fail(run(ctx, *name, *zosnet, *keep))
}

func fail(err error) {
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

var errDiffers = errors.New("what was observed differs from what was expected")

func run(ctx context.Context, name, zosnet string, keep bool) error {
	if os.Geteuid() != 0 {
		return errors.New("making network namespaces needs root: run it with sudo")
	}
	path, err := filepath.Abs(zosnet)
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("no zosnet binary (make build makes it): %w", err)
	}
	began := time.Now()
	l, err := lab.New(ctx, lab.Config{Name: name, Zosnet: path, Keep: keep})
	if err != nil {
		return err
	}
	all, err := show(ctx, l)
	if keep && err == nil {
		printTable(os.Stdout, all)
		printTour(os.Stdout, l)
		return errors.Join(verdict(all), l.Release())
	}
	closed := l.Close()
	if err != nil {
		return errors.Join(err, closed)
	}
	all = append(all, section{"Afterwards", []result{leftBehind(name, closed)}})
	printTable(os.Stdout, all)
	fmt.Printf("%d lines in %v\n", count(all), time.Since(began).Round(100*time.Millisecond))
	return verdict(all)
}

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
		"/run/netns/zl-" + name + "-*", "/run/netns/" + acme + ".*", "/run/netns/" + globex + ".*",
		filepath.Join(lab.Dir, name, "*"),
	} {
		if found, err := filepath.Glob(pattern); err != nil || len(found) > 0 {
			r.got = fmt.Sprint(found, err)
		}
	}
	return r
}
