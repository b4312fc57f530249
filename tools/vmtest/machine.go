package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/zosnet/zosnet/tools/vmtest/guest"
	"github.com/zosnet/zosnet/tools/vmtest/job"
	"github.com/zosnet/zosnet/tools/vmtest/module"
)

// cards are a guest's network cards: eth0 is cabled to eth1 and eth2 to eth3;
// eth4 and eth5 come with their queues.
var cards = []string{
	"-netdev", "hubport,id=n0,hubid=0", "-device", "virtio-net-pci,romfile=,netdev=n0",
	"-netdev", "hubport,id=n1,hubid=0", "-device", "virtio-net-pci,romfile=,netdev=n1",
	"-netdev", "hubport,id=n2,hubid=1", "-device", "virtio-net-pci,romfile=,netdev=n2",
	"-netdev", "hubport,id=n3,hubid=1", "-device", "virtio-net-pci,romfile=,netdev=n3",
}

// queues of eth4 and of eth5: as many as the guest has processors, and as many
// again, which virtio_net wants for what XDP sends.
const (
	processors = 2
	queues     = 2 * processors
)

// machine is a guest and the kernel that it is for.
type machine struct {
	guest.Guest
	kernel string
	stages []stage // the boots of one that reboots
}

// stage is a boot and what it boots from.
type stage struct {
	*boot
	test      string
	initramfs string
	limit     time.Duration
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
	if err := t.userlands(ctx, selected); err != nil {
		return nil, err
	}
	var machines []machine
	for _, k := range kernels {
		made, err := t.machines(k, selected, o)
		if err != nil {
			return nil, fmt.Errorf("kernel %s: %w", k.name, err)
		}
		machines = append(machines, made...)
	}
	// What boots from a disk waits as much as it computes, and comes first; then what
	// takes long, so that none is left alone at the end.
	slices.SortStableFunc(machines, func(a, b machine) int {
		return cmp.Or(cmp.Compare(len(b.stages), len(a.stages)), cmp.Compare(b.Limit, a.Limit))
	})
	return machines, nil
}

// machines makes the guests of one kernel: one for the programs, one for whole
// nodes and links, and one for each disk that is booted from.
func (t tree) machines(k fetched, groups []group, o options) ([]machine, error) {
	modules, err := module.Open(k.Modules, k.BuiltIn)
	if err != nil {
		return nil, err
	}
	var programs, links []group
	var machines []machine
	for _, g := range wanted(k, groups) {
		switch {
		case o.keep && g.boot != nil: // its shell is in the other guest
			continue
		case g.boot == nil && g.links && !o.keep:
			links = append(links, g)
			continue
		case g.boot == nil:
			programs = append(programs, g)
			continue
		}
		m, err := t.machine(k, k.name+"-"+g.run, []group{g}, modules, o)
		if err != nil {
			return nil, err
		}
		same := func(other machine) bool { return other.stages[0].disk == g.boot.disk }
		at := slices.IndexFunc(machines, same)
		if at < 0 {
			at = len(machines)
			machines = append(machines, m)
		}
		machines[at].stages = append(machines[at].stages, stage{g.boot, g.run, m.Initramfs, m.Limit})
	}
	for name, some := range map[string][]group{k.name: programs, k.name + "-links": links} {
		if len(some) == 0 {
			continue
		}
		m, err := t.machine(k, name, some, modules, o)
		if err != nil {
			return nil, err
		}
		m.Arguments, m.Queues = cards, queues
		machines = append(machines, m)
	}
	return machines, nil
}

// machine makes a guest that runs some groups.
func (t tree) machine(k fetched, name string, groups []group, modules *module.Tree, o options) (machine, error) {
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
	parts := []string{t.archive(userland)}
	if j.Systemd {
		parts = append(parts, t.archive(systemd))
	}
	if err := errors.Join(join(whole, append(parts, own)...), os.Remove(own)); err != nil {
		return machine{}, err
	}
	if o.keep {
		limit = 24 * time.Hour
	}
	return machine{kernel: k.name, Guest: guest.Guest{
		Name: "the guest of kernel " + k.name, Kernel: k.Image, Initramfs: whole,
		CPUs: processors, Memory: "3G", Limit: limit, Interactive: o.keep,
	}}, nil
}
