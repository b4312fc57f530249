package maps

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
)

// Every reason of bpf/lib/drop.h has the same name and number in Go.
func TestDropReasonNames(t *testing.T) {
	text := readText(t, "../../bpf/lib/drop.h")
	_, text, _ = strings.Cut(text, "enum drop_reason {")
	text, _, found := strings.Cut(text, "DROP_REASONS")
	if !found {
		t.Fatal("no enum drop_reason in drop.h")
	}
	text = regexp.MustCompile(`(?s)/\*.*?\*/`).ReplaceAllString(text, "")
	var want []string
	for _, name := range regexp.MustCompile(`DROP_[A-Z0-9_]+`).FindAllString(text, -1) {
		want = append(want, strings.ToLower(strings.TrimPrefix(name, "DROP_")))
	}
	got := DropReasons()
	if len(got) != len(want) || len(want) != int(bpfDropReasonDROP_REASONS) {
		t.Fatalf("%d reasons in Go, %d in drop.h, DROP_REASONS is %d", len(got), len(want), bpfDropReasonDROP_REASONS)
	}
	for i, reason := range got {
		if reason.String() != want[i] {
			t.Errorf("reason %d is %s in Go, %s in drop.h", i, reason, want[i])
		}
	}
	if name := DropReason(len(want)).String(); name != "unknown" {
		t.Errorf("a reason that is none is called %q", name)
	}
}

// Every map says what it holds (a ring buffer holds bytes), is pinned by its name
// and has a name that the kernel does not cut off.
func TestEveryMapIsDescribed(t *testing.T) {
	spec, err := loadBpf()
	must(t, err)
	pinned := 0
	for name, m := range spec.Maps {
		if strings.HasPrefix(name, ".") {
			continue // sections of the object
		}
		pinned++
		if m.Pinning != ebpf.PinByName {
			t.Errorf("map %s is not pinned by name", name)
		}
		if m.Type != ebpf.RingBuf && (m.Key == nil || m.Value == nil) {
			t.Errorf("map %s has no BTF for its key or value", name)
		}
		if len(name) > 15 {
			t.Errorf("map name %s is longer than 15 bytes", name)
		}
	}
	if pinned == 0 {
		t.Fatal("no maps")
	}
}

// Open pins every map, finds the same ones again, and leaves nothing to switch.
func TestOpenPinsEveryMap(t *testing.T) {
	dir := bpffs(t)
	first := openMaps(t, dir)
	pins, err := os.ReadDir(dir)
	must(t, err)
	if len(pins) != len(first.Replacements()) {
		t.Errorf("%d pins, %d maps", len(pins), len(first.Replacements()))
	}
	second := openMaps(t, dir)
	for name, m := range first.Replacements() {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
		if a, b := mapID(t, m), mapID(t, second.Replacements()[name]); a != b {
			t.Errorf("map %s has id %d, opened again %d", name, a, b)
		}
	}
	if changed := second.Changed(); len(changed) != 0 {
		t.Errorf("layouts changed without a change: %v", changed)
	}
}

func mapID(t testing.TB, m *ebpf.Map) ebpf.MapID {
	t.Helper()
	info, err := m.Info()
	must(t, err)
	id, ok := info.ID()
	if !ok {
		t.Fatal("this kernel gives maps no id")
	}
	return id
}

// Without bpffs the error says where, and what is missing.
func TestOpenNeedsBPFFS(t *testing.T) {
	bpffs(t) // for the needs of it
	_, err := Open(t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "bpffs") {
		t.Errorf("got %v", err)
	}
}
