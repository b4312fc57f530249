package maps

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// fill gives a new map the old ones' entries.
func (m *Maps) fill(c *change) error {
	if c.isState() {
		return m.carryLatest(c)
	}
	if c.placed { // by a Commit, after the daemon had written its own
		return nil
	}
	return m.carry(c, c.sources[0], ebpf.UpdateAny)
}

// carryLatest carries over what programs have written: of two entries that which was
// used later. But what was denied stays denied.
func (m *Maps) carryLatest(c *change) error {
	for _, s := range c.sources {
		carry := func() error { return m.carry(c, s, ebpf.UpdateNoExist) }
		if c.seen >= 0 {
			carry = func() error { return m.carryNewer(c, s) }
		}
		if err := carry(); err != nil {
			return err
		}
	}
	return m.carryDenials(c)
}

// carryLast carries over what the old programs wrote until the last of them ended,
// without touching what the new ones have written since.
func (m *Maps) carryLast(c *change) error {
	for _, s := range c.sources {
		if err := m.carry(c, s, ebpf.UpdateNoExist); err != nil {
			return err
		}
	}
	return m.carryDenials(c)
}

// carry copies a map's entries. What finds no room, or is there already and may not
// be written again, is left out.
func (m *Maps) carry(c *change, s source, flag ebpf.MapUpdateFlags) error {
	if s.convert == nil {
		return nil
	}
	to := m.all[c.name]
	return eachRaw(s.from, func(key []byte, values [][]byte) error {
		var newKey []byte
		converted := make([][]byte, len(values))
		for i, value := range values {
			newKey, converted[i] = s.convert.apply(key, value)
		}
		if isPerCPU(to.Type()) {
			return carried(c.name, to.Update(newKey, converted, flag))
		}
		return carried(c.name, to.Update(newKey, converted[0], flag))
	})
}

// carryNewer copies the entries that are not there yet, or used later than there.
func (m *Maps) carryNewer(c *change, s source) error {
	if s.convert == nil {
		return nil
	}
	to := m.all[c.name]
	used := func(value []byte) uint64 { return binary.NativeEndian.Uint64(value[c.seen:]) }
	return eachRaw(s.from, func(key []byte, values [][]byte) error {
		newKey, value := s.convert.apply(key, values[0])
		have, err := to.LookupBytes(newKey)
		if err != nil || have != nil && used(have) >= used(value) {
			return err
		}
		return carried(c.name, to.Update(newKey, value, ebpf.UpdateAny))
	})
}

func carried(name string, err error) error {
	if err == nil || errors.Is(err, ebpf.ErrKeyExist) || errors.Is(err, unix.E2BIG) {
		return nil
	}
	return fmt.Errorf("carry an entry of map %s over to its new layout: %w", name, err)
}

// carryDenials marks flows denied that an old map holds as denied.
func (m *Maps) carryDenials(c *change) error {
	if c.denied < 0 {
		return nil
	}
	to := m.all[c.name]
	for _, s := range c.sources {
		if s.convert == nil {
			continue
		}
		err := eachRaw(s.from, func(key []byte, values [][]byte) error {
			newKey, value := s.convert.apply(key, values[0])
			if value[c.denied] == 0 {
				return nil
			}
			have, err := to.LookupBytes(newKey)
			if err != nil || have == nil || have[c.denied] != 0 {
				return err
			}
			have[c.denied] = value[c.denied]
			err = to.Update(newKey, have, ebpf.UpdateExist)
			if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
				return fmt.Errorf("carry a denied flow over: %w", err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
