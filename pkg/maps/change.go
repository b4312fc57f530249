package maps

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

// unfinished is why a map is still to change that has its new layout already.
const unfinished = "programs may still use a map of an earlier layout"

// change is a map whose layout is not, or not everywhere, the one that this build
// wants.
type change struct {
	name    string
	why     string
	want    layout
	placed  bool     // the new map has its name
	seen    int      // where its values say when they were last used, in bytes; -1: nowhere
	denied  int      // where they say that a flow is denied; -1: nowhere
	sources []source // maps that running programs may write; the one in force first
}

// source is a map whose entries a new one gets.
type source struct {
	from    *ebpf.Map
	pin     string      // once the new map has its name
	convert *conversion // nil: its entries cannot be carried over
}

// newChange prepares a map's change from the map in force, unless that is the new one
// already, and from those that it has taken over from.
func (m *Maps) newChange(name, why string, spec *ebpf.MapSpec, retired []string) (*change, error) {
	want := layoutOfSpec(spec)
	c := &change{name: name, why: why, want: want, placed: why == unfinished,
		seen: want.offsetOf("last_seen", 8), denied: want.offsetOf("denied", 1)}
	if !c.placed {
		if err := c.addSource(m.all[name], ""); err != nil {
			return nil, err
		}
		delete(m.all, name)
	}
	for _, path := range retired {
		old, err := ebpf.LoadPinnedMap(path, nil)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open pinned map %s: %w", path, err), c.close())
		}
		if err := c.addSource(old, path); err != nil {
			return nil, errors.Join(err, c.close())
		}
	}
	return c, nil
}

func (c *change) addSource(from *ebpf.Map, pin string) error {
	have, err := layoutOfMap(from)
	if err != nil {
		return err
	}
	s := source{from: from, pin: pin}
	if conv, err := conversionOf(have, c.want); err == nil {
		s.convert = &conv
	} else {
		c.why += "; entries start afresh: " + err.Error()
	}
	c.sources = append(c.sources, s)
	return nil
}

func (c *change) close() error {
	var errs []error
	for _, s := range c.sources {
		errs = append(errs, s.from.Close())
	}
	return errors.Join(errs...)
}

// isState tells a map that programs write as packets come.
func (c *change) isState() bool {
	switch c.name {
	case bpfMapFlows, bpfMapFlowSets, bpfMapFragments, bpfMapHostFlows, bpfMapDhcpRequests:
		return true
	}
	return false
}
