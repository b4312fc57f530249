package maps

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

func TestLayoutDifference(t *testing.T) {
	base := layout{
		kind: ebpf.Hash, keySize: 4, valueSize: 8, maxEntries: 16, flags: 1,
		key: []field{{"", 0, 4}}, value: []field{{"a", 0, 4}, {"b", 4, 4}},
	}
	for _, c := range []struct {
		name   string
		change func(*layout)
		want   string
	}{
		{"the same", func(*layout) {}, ""},
		{"type", func(l *layout) { l.kind = ebpf.LRUHash }, "type Hash, wanted LRUHash"},
		{"value size", func(l *layout) { l.valueSize = 16 }, "value bytes 8, wanted 16"},
		{"room", func(l *layout) { l.maxEntries = 32 }, "max entries 16, wanted 32"},
		{"flags", func(l *layout) { l.flags = 0 }, "flags 1, wanted 0"},
		{"a field renamed", func(l *layout) { l.value = []field{{"a", 0, 4}, {"c", 4, 4}} }, "value fields differ"},
		{"fields swapped", func(l *layout) { l.value = []field{{"b", 0, 4}, {"a", 4, 4}} }, "value fields differ"},
	} {
		want := base
		c.change(&want)
		if got := base.difference(want); got != c.want {
			t.Errorf("%s: %q, wanted %q", c.name, got, c.want)
		}
	}
}

func TestConversion(t *testing.T) {
	old := layout{
		keySize: 4, valueSize: 8,
		key: []field{{"x", 0, 2}, {"y", 2, 2}}, value: []field{{"a", 0, 4}, {"b", 4, 2}, {"c", 6, 2}},
	}
	now := layout{
		keySize: 4, valueSize: 12,
		key: []field{{"y", 0, 2}, {"x", 2, 2}}, value: []field{{"b", 0, 2}, {"c", 2, 4}, {"a", 8, 4}},
	}
	c, err := conversionOf(old, now)
	must(t, err)
	key, value := c.apply([]byte{1, 2, 3, 4}, []byte{1, 2, 3, 4, 5, 6, 7, 8})
	if want := []byte{3, 4, 1, 2}; !slices.Equal(key, want) {
		t.Errorf("key %v, wanted %v", key, want)
	}
	if want := []byte{5, 6, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}; !slices.Equal(value, want) { // c has another size
		t.Errorf("value %v, wanted %v", value, want)
	}
	for name, spoil := range map[string]func(*layout){
		"a key field more":   func(l *layout) { l.key = append(slices.Clone(l.key), field{"z", 4, 2}) },
		"a key field less":   func(l *layout) { l.key = l.key[:1] },
		"another value":      func(l *layout) { l.value = []field{{"d", 0, 4}} },
		"a wider key field":  func(l *layout) { l.key = []field{{"x", 0, 2}, {"y", 2, 4}} },
		"another key's name": func(l *layout) { l.key = []field{{"x", 0, 2}, {"w", 2, 2}} },
	} {
		other := now
		spoil(&other)
		if _, err := conversionOf(old, other); err == nil {
			t.Errorf("%s: entries would be carried over wrongly", name)
		}
	}
}

// earlier gives the built-in maps as an earlier build might have had them: a flow
// with its fields elsewhere and one that has gone since, a smaller table of
// bindings, and rule counts without their BTF name.
func earlier(t *testing.T) map[string]*ebpf.MapSpec {
	t.Helper()
	specs, err := Specs()
	must(t, err)
	flow := btf.Copy(specs["flows"].Value).(*btf.Struct)
	flow.Members = slices.Clone(flow.Members)
	for i := range flow.Members {
		flow.Members[i].Offset += 64
	}
	flow.Members = slices.Insert(flow.Members, 0, btf.Member{Name: "colour", Type: &btf.Int{Name: "u64", Size: 8}})
	flow.Size += 8
	specs["flows"].Value, specs["flows"].ValueSize = flow, flow.Size
	specs["bindings"].MaxEntries /= 2
	count := btf.Copy(specs["rule_counts"].Value).(*btf.Struct)
	count.Members = slices.Clone(count.Members)
	count.Members[0].Name = "hits"
	specs["rule_counts"].Value = count
	return specs
}

// putEarlierFlow writes a flow in the earlier layout.
func putEarlierFlow(t *testing.T, flows *ebpf.Map, key FlowKey, f Flow) {
	t.Helper()
	must(t, flows.Put(&key, append(make([]byte, 8), rawOf(t, &f)...)))
}

func flowKey(port uint16) FlowKey {
	return FlowKey{
		Low: AddressOf(netip.MustParseAddr("2001:db8::1")), High: AddressOf(netip.MustParseAddr("2001:db8::2")),
		LowPort: networkOrder16(port), HighPort: networkOrder16(443), Proto: 6,
	}
}

// The whole switch: entries are carried over while the old maps stay in force;
// what the old programs add until Commit comes along; denied stays denied; then
// the pins are the new maps'.
func TestSwitchOfLayout(t *testing.T) {
	dir := bpffs(t)
	old, err := OpenSpecs(dir, earlier(t))
	must(t, err)
	t.Cleanup(func() { _ = old.Close() })
	putEarlierFlow(t, old.Flows, flowKey(1), Flow{LastSeen: 7, Owner: 3, State: 2})
	putEarlierFlow(t, old.Flows, flowKey(2), Flow{LastSeen: 8, Owner: 3, Denied: 1})
	putEarlierFlow(t, old.Flows, flowKey(3), Flow{LastSeen: 9, Owner: 3})
	must(t, old.PutNetwork(3, Network{Policy: 5, Generation: 9}))
	must(t, old.PutPolicy(3, 5, program(80)))

	m := openMaps(t, dir)
	changed := m.Changed()
	for _, name := range []string{"flows", "bindings", "rule_counts"} {
		if changed[name] == "" {
			t.Errorf("map %s: no change was seen", name)
		}
	}
	if len(changed) != 3 {
		t.Errorf("changed: %v", changed)
	}
	assertFlow(t, m, flowKey(1), Flow{LastSeen: 7, Owner: 3, State: 2})
	assertFlow(t, m, flowKey(2), Flow{LastSeen: 8, Owner: 3, Denied: 1})
	if mapID(t, pinnedMap(t, dir, "flows")) != mapID(t, old.Flows) {
		t.Error("the old map lost its pin before Commit")
	}

	putEarlierFlow(t, old.Flows, flowKey(3), Flow{LastSeen: 10, Owner: 3, Denied: 1})
	putEarlierFlow(t, old.Flows, flowKey(4), Flow{LastSeen: 10, Owner: 3})
	replaced := false
	must(t, m.Commit(func() error {
		replaced = true
		putEarlierFlow(t, old.Flows, flowKey(5), Flow{LastSeen: 11, Owner: 3, Denied: 1})
		return nil
	}))
	if !replaced {
		t.Error("Commit replaced no programs")
	}
	assertFlow(t, m, flowKey(3), Flow{LastSeen: 10, Owner: 3, Denied: 1})
	assertFlow(t, m, flowKey(4), Flow{LastSeen: 10, Owner: 3})
	assertFlow(t, m, flowKey(5), Flow{LastSeen: 11, Owner: 3, Denied: 1})
	for name, each := range m.all {
		if mapID(t, pinnedMap(t, dir, name)) != mapID(t, each) {
			t.Errorf("pin %s is not the map in force", name)
		}
	}
	assertOnlyMaps(t, m)
	if len(m.Changed()) != 0 || len(openMaps(t, dir).Changed()) != 0 {
		t.Error("still something to switch after Commit")
	}
	if got := m.PolicyVersions(3); !slices.Equal(got, []uint32{5}) {
		t.Errorf("policy versions %v, wanted 5", got)
	}
}

// assertOnlyMaps checks that of a change nothing is left beside the maps.
func assertOnlyMaps(t *testing.T, m *Maps) {
	t.Helper()
	entries, err := os.ReadDir(m.dir)
	must(t, err)
	for _, e := range entries {
		if m.all[e.Name()] == nil {
			t.Errorf("pin %s was left", e.Name())
		}
	}
}

// A daemon that dies between Open and Commit leaves the old maps in force, and
// the next one starts the switch again.
func TestSwitchStartsAgain(t *testing.T) {
	dir := bpffs(t)
	old, err := OpenSpecs(dir, earlier(t))
	must(t, err)
	t.Cleanup(func() { _ = old.Close() })
	must(t, openMaps(t, dir).Close())
	putEarlierFlow(t, old.Flows, flowKey(1), Flow{LastSeen: 7, Owner: 3})
	m := openMaps(t, dir)
	if len(m.Changed()) != 3 {
		t.Errorf("changed: %v", m.Changed())
	}
	assertFlow(t, m, flowKey(1), Flow{LastSeen: 7, Owner: 3})
	failed := errors.New("verifier said no")
	if err := m.Commit(func() error { return failed }); !errors.Is(err, failed) {
		t.Errorf("Commit: %v, wanted what replacing the programs gave", err)
	}
}

func assertFlow(t *testing.T, m *Maps, key FlowKey, want Flow) {
	t.Helper()
	var got Flow
	if err := m.Flows.Lookup(&key, &got); err != nil || got != want {
		t.Errorf("flow of port %d: %+v %v, wanted %+v", networkOrder16(key.LowPort), got, err, want)
	}
}

func pinnedMap(t *testing.T, dir, name string) *ebpf.Map {
	t.Helper()
	m, err := ebpf.LoadPinnedMap(filepath.Join(dir, name), nil)
	must(t, err)
	t.Cleanup(func() { _ = m.Close() })
	return m
}
