package maps

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/cilium/ebpf"
)

// nextSuffix marks the pin of a map that takes over at Commit (bpffs allows no dots).
const nextSuffix = "_new"

// Maps is every map of the datapath. Its methods may be used by several
// goroutines, its writers by one process.
type Maps struct {
	bpfMaps
	all   map[string]*ebpf.Map
	dir   string
	count counter

	mu       sync.Mutex
	versions map[policyVersion]*policyKeys
	changed  []change
}

// change is a map whose pinned layout is not the one that this build wants.
type change struct {
	name    string
	why     string
	old     *ebpf.Map
	convert *conversion // nil: its entries cannot be carried over
}

// Open opens the maps pinned in dir by their names, and makes and pins those that
// are missing.
//
// Where a pinned map's layout differs from this build's (type, sizes, flags, or
// the fields that its BTF names), a new map is made beside it, pinned as
// NAME_new, and filled with the old entries, field by field. Programs that run
// keep the old one until Commit.
func Open(dir string) (*Maps, error) {
	spec, err := loadBpf()
	if err != nil {
		return nil, fmt.Errorf("read the maps that are built in: %w", err)
	}
	return open(dir, spec.Maps)
}

func open(dir string, specs map[string]*ebpf.MapSpec) (_ *Maps, err error) {
	m := &Maps{all: map[string]*ebpf.Map{}, dir: dir, versions: map[policyVersion]*policyKeys{}}
	m.count.programs = map[*ebpf.Map]*ebpf.Program{}
	defer func() {
		if err != nil {
			_ = m.Close()
		}
	}()
	for name, spec := range specs {
		if spec.Pinning != ebpf.PinByName {
			continue // .rodata and its kind, which belong to programs
		}
		if err = m.openOne(name, spec); err != nil {
			return nil, err
		}
	}
	if err = m.assign(); err != nil {
		return nil, err
	}
	for _, c := range m.changed {
		if err = m.carry(c, ebpf.UpdateAny); err != nil {
			return nil, err
		}
	}
	return m, m.sweepPolicies()
}

// openOne opens or makes one map.
func (m *Maps) openOne(name string, spec *ebpf.MapSpec) error {
	path := filepath.Join(m.dir, name)
	if err := os.Remove(path + nextSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove map %s of an unfinished switch: %w", path+nextSuffix, err)
	}
	old, err := ebpf.LoadPinnedMap(path, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return m.create(name, spec, path)
	}
	if err != nil {
		return fmt.Errorf("open pinned map %s: %w", path, err)
	}
	have, err := layoutOfMap(old)
	if err != nil {
		_ = old.Close()
		return err
	}
	want := layoutOfSpec(spec)
	why := have.difference(want)
	if why == "" {
		m.all[name] = old
		return nil
	}
	c := change{name: name, why: why, old: old}
	if conv, err := conversionOf(have, want); err == nil {
		c.convert = &conv
	} else {
		c.why += "; entries start afresh: " + err.Error()
	}
	m.changed = append(m.changed, c)
	return m.create(name, spec, path+nextSuffix)
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
	if err := made.Pin(path); err != nil {
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
		errs = append(errs, c.old.Close())
	}
	return errors.Join(append(errs, m.count.Close())...)
}
