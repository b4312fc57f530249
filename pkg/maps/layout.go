package maps

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// field is a scalar of a key or value, or a run of bytes, by its dotted path in
// C: "low.hop.mtu", "ways[2].proto".
type field struct {
	path   string
	offset uint32 // bytes
	size   uint32 // bytes
}

// layout is what must agree for a pinned map to be used by programs of this build.
type layout struct {
	kind       ebpf.MapType
	keySize    uint32 // bytes
	valueSize  uint32 // bytes
	maxEntries uint32
	flags      uint32
	key        []field
	value      []field
}

// difference says in what the layouts differ, or gives "".
func (l layout) difference(want layout) string {
	var diffs []string
	note := func(what string, have, want any) {
		if have != want {
			diffs = append(diffs, fmt.Sprintf("%s %v, wanted %v", what, have, want))
		}
	}
	note("type", l.kind, want.kind)
	note("key bytes", l.keySize, want.keySize)
	note("value bytes", l.valueSize, want.valueSize)
	note("max entries", l.maxEntries, want.maxEntries)
	note("flags", l.flags, want.flags)
	if !slices.Equal(l.key, want.key) {
		diffs = append(diffs, "key fields differ")
	}
	if !slices.Equal(l.value, want.value) {
		diffs = append(diffs, "value fields differ")
	}
	return strings.Join(diffs, ", ")
}

// version names the layout: it is made of all that is in it, so of the C struct, and
// no two layouts have the same.
func (l layout) version() string {
	digest := sha256.Sum256(fmt.Append(nil, l))
	return "v" + hex.EncodeToString(digest[:4])
}

// offsetOf gives where a field of the value lies, in bytes, or -1.
func (l layout) offsetOf(path string, size uint32) int {
	at := slices.IndexFunc(l.value, func(f field) bool { return f.path == path && f.size == size })
	if at < 0 {
		return -1
	}
	return int(l.value[at].offset)
}

// layoutOfSpec gives the layout that this build wants.
func layoutOfSpec(spec *ebpf.MapSpec) layout {
	return layout{
		kind: spec.Type, keySize: spec.KeySize, valueSize: spec.ValueSize,
		maxEntries: spec.MaxEntries, flags: spec.Flags,
		key: fieldsOf(spec.Key), value: fieldsOf(spec.Value),
	}
}

// layoutOfMap gives the layout of a map in the kernel, from its BTF.
func layoutOfMap(m *ebpf.Map) (layout, error) {
	l := layout{
		kind: m.Type(), keySize: m.KeySize(), valueSize: m.ValueSize(),
		maxEntries: m.MaxEntries(), flags: m.Flags(),
	}
	ids, err := typeIDsOf(m)
	if err != nil {
		return l, err
	}
	if ids.key == 0 && ids.value == 0 {
		return l, nil // a ring buffer, or made without BTF
	}
	handle, err := m.Handle()
	if err != nil {
		return l, fmt.Errorf("open BTF of map %s: %w", m, err)
	}
	defer func() { _ = handle.Close() }()
	types, err := handle.Spec(nil)
	if err != nil {
		return l, fmt.Errorf("read BTF of map %s: %w", m, err)
	}
	if l.key, err = fieldsOfID(types, ids.key); err != nil {
		return l, fmt.Errorf("read key type of map %s: %w", m, err)
	}
	if l.value, err = fieldsOfID(types, ids.value); err != nil {
		return l, fmt.Errorf("read value type of map %s: %w", m, err)
	}
	return l, nil
}

func fieldsOfID(types *btf.Spec, id btf.TypeID) ([]field, error) {
	if id == 0 {
		return nil, nil
	}
	t, err := types.TypeByID(id)
	if err != nil {
		return nil, err
	}
	return fieldsOf(t), nil
}

// fieldsOf gives a type's scalars in the order of their offsets.
func fieldsOf(t btf.Type) []field {
	if t == nil {
		return nil
	}
	return appendFields(nil, "", 0, t)
}

func appendFields(list []field, path string, offset uint32, t btf.Type) []field {
	switch t := btf.UnderlyingType(t).(type) {
	case *btf.Struct:
		for _, m := range t.Members {
			list = appendFields(list, joinPath(path, m.Name), offset+m.Offset.Bytes(), m.Type)
		}
		return list
	case *btf.Array:
		size, _ := btf.Sizeof(t.Type)
		if size == 1 { // bytes stay together
			return append(list, field{path, offset, t.Nelems})
		}
		for i := range t.Nelems {
			list = appendFields(list, fmt.Sprintf("%s[%d]", path, i), offset+i*uint32(size), t.Type)
		}
		return list
	default:
		size, _ := btf.Sizeof(t)
		return append(list, field{path, offset, uint32(size)})
	}
}

func joinPath(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
