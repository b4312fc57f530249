// Command vmtest runs the tree's compiled tests on real Debian kernels, each in
// a guest of QEMU, and prints one report: what passed where, and what the
// verifier had to do. It must be started at the root of the tree; the Makefile
// does. docs/kernel-ci.md is its manual.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/tools/vmtest/guest"
	"github.com/zosnet/zosnet/tools/vmtest/job"
	"github.com/zosnet/zosnet/tools/vmtest/report"
)

type options struct {
	kernels string
	run     string
	keep    bool
	clang   string
	guests  int
	report  string
}

func main() {
	var o options
	flag.StringVar(&o.kernels, "kernels", "", "names from the matrix, separated by spaces; all if empty")
	flag.StringVar(&o.run, "run", "", "only tests whose package and name, PACKAGE/TestName, match this regular expression")
	flag.StringVar(&o.clang, "clang", "", "versions of clang, separated by spaces: only verify the programs that they make")
	flag.BoolVar(&o.keep, "keep", false, "a shell in the guest after the tests; one kernel only")
	// One more than there are processors: guests wait, too.
	flag.IntVar(&o.guests, "guests", runtime.NumCPU()+1, "how many guests run side by side")
	flag.StringVar(&o.report, "report", "build/vmtest/report.txt", "where the report goes besides the standard output")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "vmtest:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	began := time.Now()
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	t := tree{root: root, cache: filepath.Join(root, ".cache/vmtest"), build: filepath.Join(root, "build/vmtest")}
	if err := os.MkdirAll(t.build, 0o755); err != nil {
		return err
	}
	lock, err := os.Open(t.build)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("another run is under way in %s: %w", t.build, err)
	}
	list, err := chosen(o.kernels)
	if err != nil {
		return err
	}
	if o.keep && len(list) != 1 {
		return errors.New("KEEP=1 is for one kernel: name it with KERNELS=")
	}
	kernels, err := fetchKernels(ctx, t.cache, list)
	if err != nil {
		return err
	}
	machines, err := prepare(ctx, t, kernels, o)
	if err != nil {
		return err
	}
	if len(machines) == 0 {
		return errors.New("no test for these kernels: RUN and KERNELS leave none")
	}
	accelerator := guest.ChooseAccelerator(ctx, machines[len(machines)-1].Guest)
	fmt.Printf("vmtest: %d guests by %s: %s\n", len(machines), accelerator.Name, accelerator.Why)
	all := t.runAll(ctx, machines, accelerator, o)
	for _, k := range kernels {
		all.Kernels = append(all.Kernels, report.Kernel{Name: k.name, Release: k.Release})
	}
	text := all.Text()
	fmt.Print(text)
	fmt.Printf("vmtest: %v\n", time.Since(began).Round(time.Second))
	if err := os.WriteFile(filepath.Join(root, o.report), []byte(text), 0o644); err != nil {
		return err
	}
	if !all.Good() {
		return errors.New("there are failures, shown above; docs/kernel-ci.md says how to run one by hand")
	}
	return nil
}

// progress prints a line for each package whose tests have ended, and at once for
// each test that fails.
func progress(kernel string) func(job.Event) {
	return func(e job.Event) {
		if e.Test != "" && e.Action == "fail" {
			fmt.Printf("vmtest: %s: %s %s failed\n", kernel, e.Package, e.Test)
		}
		if e.Test == "" && (e.Action == "pass" || e.Action == "fail") {
			fmt.Printf("vmtest: %s: %s %sed in %.0f s\n", kernel, e.Package, e.Action, e.Elapsed)
		}
	}
}

// runAll runs the guests, some side by side, and collects what they say.
func (t tree) runAll(ctx context.Context, machines []machine, accelerator guest.Accelerator, o options) *report.Report {
	var (
		all   = &report.Report{}
		mu    sync.Mutex
		group sync.WaitGroup
		slots = make(chan struct{}, o.guests)
	)
	for _, m := range machines {
		m.Accelerator = accelerator
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			for _, result := range t.runOne(ctx, m) {
				mu.Lock()
				all.Add(m.kernel, result)
				fmt.Printf("vmtest: %s: %s\n", m.kernel, report.Summary(result))
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return all
}

// runOne runs a guest as often as it has to boot.
func (t tree) runOne(ctx context.Context, m machine) []guest.Result {
	if len(m.stages) == 0 {
		return []guest.Result{m.Run(ctx, progress(m.kernel))}
	}
	results, err := t.reboot(ctx, m)
	if err != nil {
		results = append(results, guest.Result{Err: err})
	}
	return results
}
