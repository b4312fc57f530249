package maps

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
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

// Commit makes the new maps the ones in force, after the daemon has written its
// own entries into them. What packets have added to the old maps since Open is
// carried over, the new maps take the old pins, then replacePrograms must update
// every link to the new programs; what the old ones have written until then is
// carried over last. A crash on the way leaves the old programs on the old maps,
// or the new ones on the new. Without changes it only calls replacePrograms.
func (m *Maps) Commit(replacePrograms func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.carryState(); err != nil {
		return err
	}
	for _, c := range m.changed {
		path := filepath.Join(m.dir, c.name)
		if err := os.Rename(path+nextSuffix, path); err != nil {
			return fmt.Errorf("give map %s its new pin: %w", c.name, err)
		}
	}
	if err := replacePrograms(); err != nil {
		return err
	}
	waitForReaders()
	if err := m.carryState(); err != nil {
		return err
	}
	for _, c := range m.changed {
		_ = c.old.Close()
	}
	m.changed = nil
	return nil
}

// carryState carries over what programs write as packets come, without touching
// what the new map already has; but what the old programs have denied since stays
// denied.
func (m *Maps) carryState() error {
	for _, c := range m.changed {
		switch c.name {
		case bpfMapFlows, bpfMapFlowSets, bpfMapFragments, bpfMapHostFlows, bpfMapDhcpRequests:
			if err := m.carry(c, ebpf.UpdateNoExist); err != nil {
				return err
			}
		}
		if c.name == bpfMapFlows {
			if err := m.carryDenials(c); err != nil {
				return err
			}
		}
	}
	return nil
}

// carry copies the old map's entries. What finds no room, or is there already and
// may not be written again, is left out.
func (m *Maps) carry(c change, flag ebpf.MapUpdateFlags) error {
	if c.convert == nil {
		return nil
	}
	to := m.all[c.name]
	return eachRaw(c.old, func(key []byte, values [][]byte) error {
		var newKey []byte
		converted := make([][]byte, len(values))
		for i, value := range values {
			newKey, converted[i] = c.convert.apply(key, value)
		}
		var err error
		if isPerCPU(to.Type()) {
			err = to.Update(newKey, converted, flag)
		} else {
			err = to.Update(newKey, converted[0], flag)
		}
		if err == nil || errors.Is(err, ebpf.ErrKeyExist) || errors.Is(err, unix.E2BIG) {
			return nil
		}
		return fmt.Errorf("carry an entry of map %s over to its new layout: %w", c.name, err)
	})
}

// carryDenials marks flows denied that the old map holds as denied.
func (m *Maps) carryDenials(c change) error {
	if c.convert == nil {
		return nil
	}
	return eachRaw(c.old, func(key []byte, values [][]byte) error {
		newKey, value := c.convert.apply(key, values[0])
		var old, now Flow
		if err := decode(value, &old); err != nil || old.Denied == 0 {
			return err
		}
		err := m.Flows.Lookup(newKey, &now)
		if err == nil {
			now.Denied = old.Denied
			err = m.Flows.Update(newKey, &now, ebpf.UpdateExist)
		}
		if err == nil || errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil
		}
		return fmt.Errorf("carry a denied flow over: %w", err)
	})
}
