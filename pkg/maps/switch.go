package maps

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Changed names the maps whose layout is new in this build, with what differs.
// While there are any, running programs use the old maps, and Commit is due.
func (m *Maps) Changed() map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := make(map[string]string, len(m.changed))
	for _, c := range m.changed {
		names[c.name] = c.why
	}
	return names
}

// Placed tells whether all new maps have their names, because an earlier Commit got
// that far: they hold all that is to be in them, and nothing is to be waited for.
func (m *Maps) Placed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.changed {
		if !c.placed {
			return false
		}
	}
	return true
}

// Commit makes the new maps the ones in force, after the daemon has written its
// own entries into them. What packets have added to the old maps since Open is
// carried over and the new maps take the old ones' names, which stay pinned beside
// them. Then replacePrograms must update every link to the new programs; what the old
// ones have written until then is carried over last, and the old maps go. Whatever
// ends it on the way, packets go on by the programs and maps that they had, and the
// next Open finds all that they have written. Without changes it only calls
// replacePrograms.
func (m *Maps) Commit(replacePrograms func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, step := range m.steps(replacePrograms) {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// steps are those of a Commit, between any two of which it may end.
func (m *Maps) steps(replacePrograms func() error) (steps []func() error) {
	for _, c := range m.changed {
		if c.isState() {
			steps = append(steps, func() error { return m.carryLatest(c) })
		}
	}
	for _, c := range m.changed {
		if !c.placed {
			steps = append(steps, func() error { return m.keepOld(c) }, func() error { return m.place(c) })
		}
	}
	steps = append(steps, replacePrograms)
	if len(m.changed) > 0 {
		steps = append(steps, func() error { waitForReaders(); return nil })
	}
	for _, c := range m.changed {
		if c.isState() {
			steps = append(steps, func() error { return m.carryLast(c) })
		}
	}
	for _, c := range m.changed {
		steps = append(steps, func() error { return m.retire(c) })
	}
	return steps
}

// keepOld gives the map in force a second pin: it is needed until no program has it.
func (m *Maps) keepOld(c *change) error {
	old := &c.sources[0]
	pin, err := m.retiredPath(c.name, old.from)
	if err != nil {
		return err
	}
	if err := os.Link(filepath.Join(m.dir, c.name), pin); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("keep map %s until no program has it: %w", c.name, err)
	}
	old.pin = pin
	return nil
}

// place gives the new map its name.
func (m *Maps) place(c *change) error {
	staged := m.stagedPath(c.name, c.want)
	if err := os.Rename(staged, filepath.Join(m.dir, c.name)); err != nil {
		return fmt.Errorf("give map %s its new pin: %w", c.name, err)
	}
	c.placed = true
	return nil
}

// retire lets go of the old maps.
func (m *Maps) retire(c *change) error {
	for _, s := range c.sources {
		if err := unpin(s.pin); err != nil {
			return err
		}
	}
	m.changed = slices.DeleteFunc(slices.Clone(m.changed), func(each *change) bool { return each == c })
	return c.close()
}
