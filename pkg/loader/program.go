package loader

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"

	bpf "github.com/zosnet/zosnet/pkg/maps"
)

// builtIn gives the programs of this build, by the file that they come from.
func builtIn() ([]*ebpf.CollectionSpec, error) {
	var specs []*ebpf.CollectionSpec
	for name, load := range map[string]func() (*ebpf.CollectionSpec, error){
		"uplink": loadUplinks, "bare uplink": loadBareUplinks, "workload": loadWorkload,
		"overlay": loadWireGuard, "sweep": loadSweep,
	} {
		spec, err := load()
		if err != nil {
			return nil, fmt.Errorf("read the %s programs that are built in: %w", name, err)
		}
		specs = append(specs, spec)
	}
	return specs, nil
}

// mapsOf gives the maps that are built in, as the programs want them.
func mapsOf(specs []*ebpf.CollectionSpec) (map[string]*ebpf.MapSpec, error) {
	all, err := bpf.Specs()
	if err != nil {
		return nil, err
	}
	for _, spec := range specs {
		for name, m := range spec.Maps {
			if m.Pinning == ebpf.PinByName {
				all[name] = m
			}
		}
	}
	return all, nil
}

// load loads and verifies the programs onto the maps. Those for interfaces without
// an Ethernet header wait for the first of them: to verify them takes as long as all
// the others.
func (d *Datapath) load(specs []*ebpf.CollectionSpec) error {
	for _, spec := range specs {
		if isBareVariant(spec) {
			d.bare = spec
			continue
		}
		if err := d.loadPrograms(spec); err != nil {
			return err
		}
	}
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	if slices.ContainsFunc(links, isBare) {
		return d.loadBare()
	}
	return nil
}

// loadBare loads and pins what load has left for later.
func (d *Datapath) loadBare() error {
	if d.bare == nil {
		return nil
	}
	if err := d.loadPrograms(d.bare); err != nil {
		return explainKernel(err)
	}
	names := slices.Collect(maps.Keys(d.bare.Programs))
	d.bare = nil
	if len(d.maps.Changed()) > 0 {
		return nil // pinned with all the others, when the switch ends
	}
	return d.pinPrograms(names)
}

func (d *Datapath) loadPrograms(spec *ebpf.CollectionSpec) error {
	collection, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{
		MapReplacements: replacementsFor(spec, d.maps.Replacements()),
	})
	if err != nil {
		return fmt.Errorf("load programs: %w%s", err, verifierLog(err))
	}
	for name := range spec.Programs {
		d.programs[name] = collection.DetachProgram(name)
	}
	collection.Close() // what is left is sections, which the programs hold
	return nil
}

// replacementsFor gives the maps that a collection uses.
func replacementsFor(spec *ebpf.CollectionSpec, all map[string]*ebpf.Map) map[string]*ebpf.Map {
	used := map[string]*ebpf.Map{}
	for name, m := range all {
		if _, ok := spec.Maps[name]; ok {
			used[name] = m
		}
	}
	return used
}

// verifierLog gives the end of what the verifier said, where it was the verifier.
func verifierLog(err error) string {
	const most = 40 // lines; the whole log of a large program has a million
	var verifier *ebpf.VerifierError
	if !errors.As(err, &verifier) {
		return ""
	}
	lines := verifier.Log
	if len(lines) > most {
		lines = lines[len(lines)-most:]
	}
	return "\nend of the verifier's log:\n\t" + strings.Join(lines, "\n\t")
}

// replacePrograms gives every link and filter that exists the programs of this
// build, and then pins those by their names.
func (d *Datapath) replacePrograms() error {
	pins, err := readPins(d.path("links"))
	if err != nil {
		return err
	}
	for _, p := range pins {
		if err := d.replaceLink(p); err != nil {
			return err
		}
	}
	if err := d.replaceFilters(); err != nil {
		return err
	}
	return d.pinPrograms(slices.Collect(maps.Keys(d.programs)))
}

func (d *Datapath) pinPrograms(names []string) error {
	for _, name := range names {
		if err := repin(d.programs[name], d.path("progs", name)); err != nil {
			return fmt.Errorf("pin program %s: %w", name, err)
		}
	}
	return nil
}

// repin makes path the pin of program, without a moment in which there is none.
func repin(program *ebpf.Program, path string) error {
	next := path + "_new"
	if err := os.Remove(next); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	clone, err := program.Clone() // a pinned Program would remember where
	if err != nil {
		return err
	}
	defer func() { _ = clone.Close() }()
	if err := clone.Pin(next); err != nil {
		return err
	}
	return os.Rename(next, path)
}
