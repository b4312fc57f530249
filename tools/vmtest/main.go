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
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/tools/vmtest/guest"
	"github.com/zosnet/zosnet/tools/vmtest/job"
	"github.com/zosnet/zosnet/tools/vmtest/module"
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
	flag.IntVar(&o.guests, "guests", 2, "how many guests run side by side")
	flag.StringVar(&o.report, "report", "build/vmtest/report.txt", "where the report goes besides the standard output")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
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

// cards are a guest's network cards: eth0 is cabled to eth1 and eth2 to eth3.
var cards = []string{
	"-netdev", "hubport,id=n0,hubid=0", "-device", "virtio-net-pci,romfile=,netdev=n0",
	"-netdev", "hubport,id=n1,hubid=0", "-device", "virtio-net-pci,romfile=,netdev=n1",
	"-netdev", "hubport,id=n2,hubid=1", "-device", "virtio-net-pci,romfile=,netdev=n2",
	"-netdev", "hubport,id=n3,hubid=1", "-device", "virtio-net-pci,romfile=,netdev=n3",
}

// machine is a guest and the kernel that it is for.
type machine struct {
	guest.Guest
	kernel string
	stages []string // initramfs of each boot, for one that reboots
}

// prepare makes everything that guests need.
func prepare(ctx context.Context, t tree, kernels []fetched, o options) ([]machine, error) {
	selected, err := choose(suite, o.run)
	if o.clang != "" {
		selected, err = compilersSuite, t.objects(ctx, o.clang)
	}
	if err != nil {
		return nil, err
	}
	if err := t.compile(ctx, selected); err != nil {
		return nil, err
	}
	userland, err := t.userland(ctx)
	if err != nil {
		return nil, err
	}
	var machines []machine
	for _, k := range kernels {
		made, err := t.machines(k, selected, userland, o)
		if err != nil {
			return nil, fmt.Errorf("kernel %s: %w", k.name, err)
		}
		machines = append(machines, made...)
	}
	return machines, nil
}

// machines makes the guests of one kernel: one that runs the suite, and one that
// reboots.
func (t tree) machines(k fetched, groups []group, userland string, o options) ([]machine, error) {
	var once, stages []group
	for _, g := range wanted(k, groups) {
		if g.reboots {
			stages = append(stages, g)
		} else {
			once = append(once, g)
		}
	}
	var machines []machine
	if len(once) > 0 {
		m, err := t.machine(k, k.name, once, userland, o)
		if err != nil {
			return nil, err
		}
		m.Arguments = cards
		machines = append(machines, m)
	}
	if len(stages) > 0 && !o.keep {
		var all machine
		for _, g := range stages {
			m, err := t.machine(k, k.name+"-"+g.run, []group{g}, userland, o)
			if err != nil {
				return nil, err
			}
			all.kernel, all.Guest, all.stages = m.kernel, m.Guest, append(all.stages, m.Initramfs)
		}
		machines = append(machines, all)
	}
	return machines, nil
}

// machine makes a guest that runs some groups.
func (t tree) machine(k fetched, name string, groups []group, userland string, o options) (machine, error) {
	modules, err := module.Open(k.Modules, k.BuiltIn)
	if err != nil {
		return machine{}, err
	}
	j, limit, err := plan(k, groups, modules)
	if err != nil {
		return machine{}, err
	}
	j.Shell = o.keep
	closure, err := modules.Closure(needed(groups))
	if err != nil {
		return machine{}, err
	}
	for _, m := range closure {
		j.Modules = append(j.Modules, job.Module{Name: m.Name, Aliases: m.Aliases})
	}
	own, whole := filepath.Join(t.build, name+"-tests.cpio"), filepath.Join(t.build, name+".cpio")
	if err := t.assemble(own, j, closure); err != nil {
		return machine{}, err
	}
	if err := errors.Join(join(whole, userland, own), os.Remove(own)); err != nil {
		return machine{}, err
	}
	if o.keep {
		limit = 24 * time.Hour
	}
	return machine{kernel: k.name, Guest: guest.Guest{
		Name: "the guest of kernel " + k.name, Kernel: k.Image, Initramfs: whole,
		CPUs: 2, Memory: "3G", Limit: limit, Interactive: o.keep,
	}}, nil
}

// progress prints a line for each package whose tests have ended.
func progress(kernel string) func(job.Event) {
	return func(e job.Event) {
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
		group.Go(func() {
			slots <- struct{}{}
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
