package loader

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/cilium/ebpf"

	bpf "github.com/zosnet/zosnet/pkg/maps"
)

// builtIn gives the programs of this build, by the file that they come from.
func builtIn() ([]*ebpf.CollectionSpec, error) {
	var specs []*ebpf.CollectionSpec
	for name, load := range map[string]func() (*ebpf.CollectionSpec, error){
		"uplink": loadUplink, "generic uplink": loadGenericUplink, "bare uplink": loadBareUplinks, "workload": loadWorkload,
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

// load loads and verifies the programs onto the maps: variants only where there is
// an interface for them already. To verify all would take two thirds more time.
func (d *Datapath) load(specs []*ebpf.CollectionSpec) error {
	for _, spec := range specs {
		if isVariants(spec) {
			d.later = append(d.later, spec)
			continue
		}
		if err := d.loadPrograms(spec); err != nil {
			return err
		}
	}
	links, err := listLinks()
	if err != nil {
		return err
	}
	for _, dev := range links {
		if !isBare(dev) && !hasXDP(dev) {
			continue
		}
		for _, name := range []string{uplinkXDP, uplinkIngress, uplinkEgress} {
			if _, err := d.programFor(name, dev); err != nil {
				return err
			}
		}
	}
	return nil
}

// has says whether the build has a program, loaded or not.
func (d *Datapath) has(name string) bool {
	return d.programs[name] != nil ||
		slices.ContainsFunc(d.later, func(spec *ebpf.CollectionSpec) bool { return spec.Programs[name] != nil })
}

// program gives a program, which is loaded and pinned now where it is not yet.
func (d *Datapath) program(name string) (*ebpf.Program, error) {
	if p := d.programs[name]; p != nil {
		return p, nil
	}
	i := slices.IndexFunc(d.later, func(spec *ebpf.CollectionSpec) bool { return spec.Programs[name] != nil })
	if i < 0 {
		return nil, fmt.Errorf("load %s: this build has no such program", name)
	}
	spec := d.later[i]
	if err := d.loadPrograms(spec); err != nil {
		return nil, explainKernel(err)
	}
	d.later = slices.Delete(d.later, i, i+1)
	if len(d.maps.Changed()) > 0 {
		return d.programs[name], nil // pinned with all the others, when the switch ends
	}
	return d.programs[name], d.pinPrograms(slices.Collect(maps.Keys(spec.Programs)))
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
	if err := d.pinPrograms(slices.Collect(maps.Keys(d.programs))); err != nil {
		return err
	}
	return d.unpinOthers()
}

// unpinOthers removes the pins of programs that are not loaded here: of variants that
// nothing needs any more, and of what another build had.
func (d *Datapath) unpinOthers() error {
	pins, err := os.ReadDir(d.path("progs"))
	if err != nil {
		return fmt.Errorf("read the pins of programs: %w", err)
	}
	for _, pin := range pins {
		if d.programs[pin.Name()] != nil {
			continue
		}
		if err := os.Remove(d.path("progs", pin.Name())); err != nil {
			return fmt.Errorf("remove the pin of program %s: %w", pin.Name(), err)
		}
	}
	return nil
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
