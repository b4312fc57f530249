package maps

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/cilium/ebpf"
)

// Beside NAME, the map in force, the directory holds, while a layout changes:
//
//	NAME_VERSION  a map of that layout, which is being filled and takes over at Commit
//	NAME_was_ID   the map that was in force before (its id), until no program has it
//
// bpffs allows no dots.
var (
	stagedPin  = regexp.MustCompile(`^(.+)_(v[0-9a-f]{8}|new)$`) // new: of builds before versions
	retiredPin = regexp.MustCompile(`^(.+)_was_[0-9]+$`)
)

// stagedPath is where a map waits to take over.
func (m *Maps) stagedPath(name string, l layout) string {
	return filepath.Join(m.dir, name+"_"+l.version())
}

// retiredPath is where a map stays that another has taken over from.
func (m *Maps) retiredPath(name string, old *ebpf.Map) (string, error) {
	info, err := old.Info()
	if err != nil {
		return "", fmt.Errorf("read map %s: %w", name, err)
	}
	id, _ := info.ID()
	return filepath.Join(m.dir, fmt.Sprintf("%s_was_%d", name, id)), nil
}

// pins are those of a directory, by the map that they are of.
type pins struct{ staged, retired map[string][]string } // paths

func readPins(dir string, specs map[string]*ebpf.MapSpec) (pins, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return pins{}, fmt.Errorf("read pins of maps: %w", err)
	}
	p := pins{map[string][]string{}, map[string][]string{}}
	for _, e := range entries {
		for form, list := range map[*regexp.Regexp]map[string][]string{stagedPin: p.staged, retiredPin: p.retired} {
			parts := form.FindStringSubmatch(e.Name())
			if parts == nil || specs[parts[1]] == nil || specs[e.Name()] != nil {
				continue
			}
			list[parts[1]] = append(list[parts[1]], filepath.Join(dir, e.Name()))
		}
	}
	return p, nil
}

// unpin removes pins; one that is not there is no error.
func unpin(paths ...string) error {
	for _, path := range paths {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove pin of a map: %w", err)
		}
	}
	return nil
}
