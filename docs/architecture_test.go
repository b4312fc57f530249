package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// rows gives the cells of each row of the table whose heading row begins with title.
func rows(t *testing.T, page, title string) (list [][]string) {
	t.Helper()
	inside := false
	for _, line := range strings.Split(read(t, page), "\n") {
		switch {
		case strings.HasPrefix(line, "| "+title+" |"):
			inside = true
		case !strings.HasPrefix(line, "|"):
			inside = false
		case inside && !strings.HasPrefix(line, "|---"):
			cells := strings.Split(strings.Trim(line, "|"), "|")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			list = append(list, cells)
		}
	}
	if len(list) == 0 {
		t.Fatalf("%s has no table %q", page, title)
	}
	return list
}

// table gives the first cell of each row of the table whose heading row begins
// with title, without backquotes.
func table(t *testing.T, page, title string) (cells []string) {
	t.Helper()
	for _, row := range rows(t, page, title) {
		cells = append(cells, strings.Trim(row[0], "`"))
	}
	slices.Sort(cells)
	return cells
}

// inC gives what a pattern finds in the datapath's sources, each once.
func inC(t *testing.T, pattern string) []string {
	t.Helper()
	sources, err := filepath.Glob("../bpf/*.c")
	if err != nil {
		t.Fatal(err)
	}
	headers, err := filepath.Glob("../bpf/lib/*.h")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, source := range append(sources, headers...) {
		for _, found := range regexp.MustCompile(pattern).FindAllStringSubmatch(read(t, source), -1) {
			names = append(names, found[1])
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func TestProgramTable(t *testing.T) {
	want := inC(t, `SEC\("(?:tc|xdp|syscall)[^"]*"\)\nint (\w+)\(`)
	if d := cmp.Diff(want, table(t, "architecture.md", "program")); d != "" {
		t.Error(d)
	}
}

// TestMapTable compares with the maps that are pinned; others are the programs' own
// workbenches.
func TestMapTable(t *testing.T) {
	want := append(inC(t, `(?m)^MAP\((\w+),`), "events")
	slices.Sort(want)
	if d := cmp.Diff(want, table(t, "architecture.md", "map")); d != "" {
		t.Error(d)
	}
}

// TestRoomTable compares with the directories.
func TestRoomTable(t *testing.T) {
	var want []string
	for _, pattern := range []string{"../pkg/*", "../cmd/*", "../bpf", "../packaging", "../test", "../tools"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			if info, err := os.Stat(path); err == nil && info.IsDir() {
				want = append(want, strings.TrimPrefix(path, "../"))
			}
		}
	}
	slices.Sort(want)
	if d := cmp.Diff(want, table(t, "architecture.md", "room")); d != "" {
		t.Error(d)
	}
}

// TestNamesOfCode says that every function, map or constant of the datapath that
// architecture.md names in code is there.
func TestNamesOfCode(t *testing.T) {
	known := map[string]bool{}
	for _, name := range inC(t, `(\w+)`) {
		known[name] = true
	}
	for _, found := range regexp.MustCompile("`([a-z0-9]+_[a-z0-9_]+|[A-Z]+_[A-Z_]+)`").FindAllStringSubmatch(read(t, "architecture.md"), -1) {
		if name := found[1]; !known[name] && !strings.HasPrefix(name, "BPF_") && !known["DROP_"+strings.ToUpper(name)] {
			t.Errorf("architecture.md names `%s`, which is not in the datapath's source", name)
		}
	}
}
