package maps

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"

	"github.com/cilium/ebpf"
)

// Maps is every map of the datapath. Its methods may be used by several
// goroutines, its writers by one process.
type Maps struct {
	bpfMaps
	all   map[string]*ebpf.Map
	dir   string
	count counter

	mu       sync.Mutex
	versions map[policyVersion]*policyKeys
	changed  []*change
}

// together are maps of which one names entries of another: they change their layout
// together, so that whoever reads one of them finds in the others what it names.
var together = [][]string{
	{bpfMapNetworks, bpfMapPolicyVectors, bpfMapPolicyCidrs, bpfMapPolicyPorts},
	{bpfMapNode, bpfMapLockdownAllow},
}

// Specs gives the maps that are built in, by name.
func Specs() (map[string]*ebpf.MapSpec, error) {
	spec, err := loadBpf()
	if err != nil {
		return nil, fmt.Errorf("read the maps that are built in: %w", err)
	}
	pinned := map[string]*ebpf.MapSpec{}
	for name, each := range spec.Maps {
		if each.Pinning == ebpf.PinByName { // else .rodata and its kind, which belong to programs
			pinned[name] = each
		}
	}
	return pinned, nil
}

// Open opens the maps that are built in: see OpenSpecs.
func Open(dir string) (*Maps, error) {
	specs, err := Specs()
	if err != nil {
		return nil, err
	}
	return OpenSpecs(dir, specs)
}

// OpenSpecs opens the maps pinned in dir by their names, and makes and pins those
// that are missing.
//
// Where a pinned map's layout differs from the spec's (type, sizes, flags, or the
// fields that its BTF names), a map of the new layout is filled beside it, field by
// field, under a pin that names its version. Programs that run keep the old one until
// Commit. What an earlier Open or Commit of this layout began and did not end is taken
// up where it was left; what one of another layout began is removed.
func OpenSpecs(dir string, specs map[string]*ebpf.MapSpec) (_ *Maps, err error) {
	m := &Maps{all: map[string]*ebpf.Map{}, dir: dir, versions: map[policyVersion]*policyKeys{}}
	m.count.programs = map[*ebpf.Map]*ebpf.Program{}
	defer func() {
		if err != nil {
			_ = m.Close()
		}
	}()
	pins, err := readPins(dir, specs)
	if err != nil {
		return nil, err
	}
	if err = m.inspect(specs, pins); err != nil {
		return nil, err
	}
	for name, spec := range specs {
		if err = m.openOne(name, spec, pins.staged[name]); err != nil {
			return nil, err
		}
	}
	if err = m.assign(); err != nil {
		return nil, err
	}
	for _, c := range m.changed {
		if err = m.fill(c); err != nil {
			return nil, err
		}
	}
	return m, m.sweepPolicies()
}

// inspect opens what is pinned, and finds out which maps have to change.
func (m *Maps) inspect(specs map[string]*ebpf.MapSpec, p pins) error {
	because := map[string]string{}
	for name, spec := range specs {
		old, err := ebpf.LoadPinnedMap(filepath.Join(m.dir, name), nil)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("open pinned map %s: %w", filepath.Join(m.dir, name), err)
		}
		m.all[name] = old
		have, err := layoutOfMap(old)
		if err != nil {
			return err
		}
		because[name] = have.difference(layoutOfSpec(spec))
		if because[name] == "" && len(p.retired[name]) > 0 {
			because[name] = unfinished
		}
	}
	for _, group := range together {
		for _, name := range group {
			differs := func(other string) bool { return because[other] != "" && because[other] != unfinished }
			if at := slices.IndexFunc(group, differs); at >= 0 && because[name] == "" {
				because[name] = "changes with " + group[at]
			}
		}
	}
	for name, why := range because {
		if why == "" {
			continue
		}
		c, err := m.newChange(name, why, specs[name], p.retired[name])
		if err != nil {
			return err
		}
		m.changed = append(m.changed, c)
	}
	return nil
}

// openOne makes one map, unless what is pinned will do. staged are maps that wait to
// take over.
func (m *Maps) openOne(name string, spec *ebpf.MapSpec, staged []string) error {
	at := slices.IndexFunc(m.changed, func(c *change) bool { return c.name == name && !c.placed })
	if at < 0 {
		if err := unpin(staged...); err != nil || m.all[name] != nil {
			return err
		}
		return m.create(name, spec, filepath.Join(m.dir, name))
	}
	want := layoutOfSpec(spec)
	own := m.stagedPath(name, want)
	if err := unpin(slices.DeleteFunc(staged, func(path string) bool { return path == own })...); err != nil {
		return err
	}
	begun, err := ebpf.LoadPinnedMap(own, nil)
	if err == nil {
		if have, err := layoutOfMap(begun); err == nil && have.difference(want) == "" {
			m.all[name] = begun
			return nil
		}
		_ = begun.Close()
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("open pinned map %s: %w", own, err)
	}
	if err := unpin(own); err != nil {
		return err
	}
	return m.create(name, spec, own)
}

// create makes a map and pins it.
func (m *Maps) create(name string, spec *ebpf.MapSpec, path string) error {
	spec = spec.Copy()
	spec.Pinning = ebpf.PinNone
	made, err := ebpf.NewMap(spec)
	if err != nil {
		return fmt.Errorf("make map %s: %w", name, err)
	}
	m.all[name] = made
	pinned, err := made.Clone() // a pinned Map would remember where
	if err != nil {
		return fmt.Errorf("pin map %s: %w", name, err)
	}
	defer func() { _ = pinned.Close() }()
	if err := pinned.Pin(path); err != nil {
		return fmt.Errorf("pin map %s: %w (is %s on a bpffs?)", name, err, m.dir)
	}
	return nil
}

// Replacements gives the maps by name, for a collection that is loaded onto them.
func (m *Maps) Replacements() map[string]*ebpf.Map {
	return m.all
}

// Close closes the file descriptors; pins and contents stay.
func (m *Maps) Close() error {
	var errs []error
	for _, each := range m.all {
		errs = append(errs, each.Close())
	}
	for _, c := range m.changed {
		errs = append(errs, c.close())
	}
	return errors.Join(append(errs, m.count.Close())...)
}
