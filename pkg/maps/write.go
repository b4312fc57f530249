package maps

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// entry is one key and its value.
type entry[K, V any] struct {
	Key   K
	Value V
}

// putAll writes entries, in batches where the kernel takes them. A batch that
// fails, as LPM tries' do with ENOMEM on some kernels or where the map type has
// none, is written again one by one.
func putAll[K, V any](m *ebpf.Map, entries []entry[K, V]) error {
	for len(entries) > 0 {
		n := min(batch, len(entries))
		if err := putBatch(m, entries[:n]); err != nil {
			return err
		}
		entries = entries[n:]
	}
	return nil
}

func putBatch[K, V any](m *ebpf.Map, entries []entry[K, V]) error {
	if len(entries) > 1 {
		keys, values := make([]K, len(entries)), make([]V, len(entries))
		for i, e := range entries {
			keys[i], values[i] = e.Key, e.Value
		}
		if _, err := m.BatchUpdate(keys, values, nil); err == nil {
			return nil
		}
	}
	for i := range entries {
		if err := m.Put(&entries[i].Key, &entries[i].Value); err != nil {
			return fmt.Errorf("write map %s: %w%s", m, err, whenFull(m, err))
		}
	}
	return nil
}

// whenFull explains the errors of a map that has no more room.
func whenFull(m *ebpf.Map, err error) string {
	if errors.Is(err, unix.E2BIG) || errors.Is(err, unix.ENOSPC) {
		return fmt.Sprintf(" (it holds at most %d entries)", m.MaxEntries())
	}
	return ""
}

// deleteAll removes keys; those that are not there are no error.
func deleteAll[K any](m *ebpf.Map, keys []K) error {
	for i := range keys {
		if err := m.Delete(&keys[i]); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("delete from map %s: %w", m, err)
		}
	}
	return nil
}

// readAll gives the entries of a map that holds few, or that only we write.
func readAll[K comparable, V any](m *ebpf.Map) (map[K]V, error) {
	all := map[K]V{}
	err := eachRaw(m, func(rawKey []byte, values [][]byte) error {
		var key K
		var value V
		if err := decode(rawKey, &key); err != nil {
			return err
		}
		if err := decode(values[0], &value); err != nil {
			return err
		}
		all[key] = value
		return nil
	})
	return all, err
}

// replaceAll makes a map hold exactly the entries given: what is new is written
// before what is old goes.
func replaceAll[K comparable, V comparable](m *ebpf.Map, want map[K]V) error {
	have, err := readAll[K, V](m)
	if err != nil {
		return err
	}
	var puts []entry[K, V]
	for key, value := range want {
		if old, ok := have[key]; !ok || old != value {
			puts = append(puts, entry[K, V]{key, value})
		}
		delete(have, key)
	}
	if err := putAll(m, puts); err != nil {
		return err
	}
	return deleteAll(m, keysOf(have))
}

func keysOf[K comparable, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	return keys
}
