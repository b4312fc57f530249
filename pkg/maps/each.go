package maps

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/cilium/ebpf"
)

// batch is how many entries one system call reads or writes.
const batch = 4096

// eachRaw calls f with each entry's bytes, which are f's only until it returns;
// values holds one a CPU for per-CPU maps, else one. Entries that come or go
// meanwhile may be missed.
func eachRaw(m *ebpf.Map, f func(key []byte, values [][]byte) error) error {
	switch m.Type() {
	case ebpf.RingBuf:
		return nil
	case ebpf.Hash, ebpf.LRUHash, ebpf.Array:
		return eachRawBatch(m, f)
	}
	it := m.Iterate()
	var key, value []byte
	var values [][]byte
	var out any = &value
	if isPerCPU(m.Type()) {
		out = &values
	}
	for it.Next(&key, out) {
		if !isPerCPU(m.Type()) {
			values = [][]byte{value}
		}
		if err := f(key, values); err != nil {
			return err
		}
	}
	if err := it.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return fmt.Errorf("read map %s: %w", m, err)
	}
	return nil
}

// eachRawBatch reads many entries a system call; a hash bucket by bucket, so that a
// deletion meanwhile does not send it back to the start as BPF_MAP_GET_NEXT_KEY
// would.
func eachRawBatch(m *ebpf.Map, f func(key []byte, values [][]byte) error) error {
	n := min(batch, int(m.MaxEntries()))
	keys, values := byteArrays(int(m.KeySize()), n), byteArrays(int(m.ValueSize()), n)
	var cursor ebpf.MapBatchCursor
	for {
		count, err := m.BatchLookup(&cursor, keys.Interface(), values.Interface(), nil)
		last := errors.Is(err, ebpf.ErrKeyNotExist)
		if err != nil && !last {
			return fmt.Errorf("read map %s: %w", m, err)
		}
		for i := range count {
			if err := f(keys.Index(i).Bytes(), [][]byte{values.Index(i).Bytes()}); err != nil {
				return err
			}
		}
		if last {
			return nil
		}
	}
}

// byteArrays gives a []([size]byte), which needs no marshalling.
func byteArrays(size, count int) reflect.Value {
	return reflect.MakeSlice(reflect.SliceOf(reflect.ArrayOf(size, reflect.TypeFor[byte]())), count, count)
}

func isPerCPU(t ebpf.MapType) bool {
	return t == ebpf.PerCPUHash || t == ebpf.PerCPUArray || t == ebpf.LRUCPUHash
}
