package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/cilium/ebpf"

	"github.com/zosnet/zosnet/pkg/maps"
)

// Options say where the datapath lives.
type Options struct {
	BPFFS           string // a directory; bpffs is mounted where it is missing
	ForceClsact     bool   // attach by clsact although the kernel has tcx
	ForceGenericXDP bool   // attach XDP in the stack, not in the driver
	Log             *slog.Logger
}

// Datapath is the loaded programs and their maps. Its methods may be used by
// several goroutines. It works in the network namespace of the calling thread.
type Datapath struct {
	options  Options
	maps     *maps.Maps
	programs map[string]*ebpf.Program
	later    []*ebpf.CollectionSpec // variants that no interface needs yet
	log      *slog.Logger

	mu    sync.Mutex
	noTCX bool // the kernel has said so
}

// Open loads the datapath in two steps: every program is loaded and verified onto
// the maps pinned under BPFFS (made where missing), and only then do links that
// are pinned there get the new programs, by link update: they keep their identity
// and no packet goes past them.
//
// Where a map's layout is not this build's, links keep their programs until
// Commit: see maps.Open.
func Open(options Options) (*Datapath, error) {
	specs, err := builtIn()
	if err != nil {
		return nil, err
	}
	return open(options, specs)
}

func open(options Options, specs []*ebpf.CollectionSpec) (_ *Datapath, err error) {
	d := &Datapath{options: options, log: options.Log, programs: map[string]*ebpf.Program{}}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	defer func() {
		if err != nil {
			_ = d.Close()
		}
	}()
	if err = mountBPFFS(options.BPFFS); err != nil {
		return nil, err
	}
	for _, dir := range []string{"maps", "progs", "links"} {
		if err = os.MkdirAll(d.path(dir), 0o700); err != nil {
			return nil, fmt.Errorf("make pin directory: %w", err)
		}
	}
	wanted, err := mapsOf(specs)
	if err != nil {
		return nil, err
	}
	if d.maps, err = maps.OpenSpecs(d.path("maps"), wanted); err != nil {
		return nil, explainKernel(err)
	}
	if err = d.load(specs); err != nil {
		return nil, explainKernel(err)
	}
	changed := d.maps.Changed()
	for name, why := range changed {
		d.log.Info("map has a new layout: old programs stay until the switch", "map", name, "change", why)
	}
	if len(changed) == 0 {
		return d, d.replacePrograms()
	}
	if d.maps.Placed() { // a daemon ended while it replaced programs
		return d, d.Commit()
	}
	return d, nil
}

// Maps gives the datapath's maps, which live as long as it does.
func (d *Datapath) Maps() *maps.Maps { return d.maps }

// Commit ends the switch to a new map layout, after the first full apply has
// written its entries; without a switch under way it changes nothing. It should
// be called once after each Open.
func (d *Datapath) Commit() error {
	if len(d.maps.Changed()) == 0 {
		return nil
	}
	if err := d.maps.Commit(d.replacePrograms); err != nil {
		return err
	}
	d.log.Info("switched to the new map layout")
	return nil
}

// Close closes file descriptors. Everything stays pinned, attached and enforced.
func (d *Datapath) Close() error {
	var errs []error
	for _, program := range d.programs {
		errs = append(errs, program.Close())
	}
	if d.maps != nil {
		errs = append(errs, d.maps.Close())
	}
	return errors.Join(errs...)
}

// Remove takes everything of the datapath out of the kernel: attachments in this
// network namespace, links, programs and maps pinned under bpffs, and the early
// table. What is not there is no error.
func Remove(bpffs string) error {
	if _, err := os.Stat(filepath.Join(bpffs, "links")); err == nil {
		pins, err := readPins(filepath.Join(bpffs, "links"))
		if err != nil {
			return err
		}
		for _, p := range pins {
			if err := os.Remove(p.path); err != nil {
				return fmt.Errorf("remove link pin: %w", err)
			}
		}
	}
	if err := removeFilters(); err != nil {
		return err
	}
	for _, dir := range []string{"links", "progs", "maps"} {
		if err := os.RemoveAll(filepath.Join(bpffs, dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove pins: %w", err)
		}
	}
	return RemoveBackstop()
}

func (d *Datapath) path(elem ...string) string {
	return filepath.Join(append([]string{d.options.BPFFS}, elem...)...)
}
