// Package module finds a kernel's modules and what they depend on, from the
// .modinfo section of each: Debian's packages hold no modules.dep, which depmod
// makes on the machine. The package knows nothing of guests or tests.
package module

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ulikunitz/xz"
)

// Module is one module, ready to be loaded.
type Module struct {
	Name    string // with underscores
	Object  []byte // the ELF file
	Aliases []string

	before []string // names of modules that must be loaded before it
}

// Tree is the modules of one kernel.
type Tree struct {
	release string
	files   map[string]string // name → path
	builtIn map[string]bool
	read    map[string]*Module
}

// ErrMissing is wrapped by Closure's error where a kernel has no such module.
var ErrMissing = errors.New("kernel has no such module")

// Open reads which modules there are in a directory /lib/modules/RELEASE, and
// the list modules.builtin.
func Open(dir, builtIn string) (*Tree, error) {
	t := &Tree{release: filepath.Base(dir), files: map[string]string{}, builtIn: map[string]bool{}, read: map[string]*Module{}}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".ko") || strings.HasSuffix(path, ".ko.xz") {
			t.files[nameOf(path)] = path
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	list, err := os.ReadFile(builtIn)
	if err != nil {
		return nil, err
	}
	for line := range strings.FieldsSeq(string(list)) {
		t.builtIn[nameOf(line)] = true
	}
	return t, nil
}

// nameOf makes "kernel/net/sched/act-x.ko.xz" into "act_x".
func nameOf(path string) string {
	name, _, _ := strings.Cut(filepath.Base(path), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// Has reports whether the kernel has a module, built in or not.
func (t *Tree) Has(name string) bool {
	return t.builtIn[name] || t.files[name] != ""
}

// Closure gives modules and all that they depend on, each after what it
// depends on. What is built in is left out.
func (t *Tree) Closure(names []string) ([]*Module, error) {
	var ordered []*Module
	done := map[string]bool{}
	var add func(name string, chain []string) error
	add = func(name string, chain []string) error {
		if done[name] || t.builtIn[name] {
			return nil
		}
		if slices.Contains(chain, name) {
			return fmt.Errorf("modules depend on each other: %q", append(chain, name))
		}
		m, err := t.load(name)
		if err != nil {
			return err
		}
		for _, each := range m.before {
			if err := add(each, append(slices.Clone(chain), name)); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		done[name] = true
		ordered = append(ordered, m)
		return nil
	}
	for _, name := range names {
		if err := add(name, nil); err != nil {
			return nil, err
		}
	}
	return ordered, nil
}

func (t *Tree) load(name string) (*Module, error) {
	if m, ok := t.read[name]; ok {
		return m, nil
	}
	path, ok := t.files[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w (%s)", name, ErrMissing, t.release)
	}
	object, err := decompressed(path)
	if err != nil {
		return nil, fmt.Errorf("read module %s: %w", path, err)
	}
	m := &Module{Name: name, Object: object}
	if err := m.describe(t); err != nil {
		return nil, fmt.Errorf("read module %s: %w", path, err)
	}
	t.read[name] = m
	return m, nil
}

func decompressed(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil || !strings.HasSuffix(path, ".xz") {
		return data, err
	}
	r, err := xz.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// describe reads .modinfo: strings "key=value", each ended by a zero byte.
func (m *Module) describe(t *Tree) error {
	file, err := elf.NewFile(bytes.NewReader(m.Object))
	if err != nil {
		return err
	}
	section := file.Section(".modinfo")
	if section == nil {
		return errors.New("no section .modinfo")
	}
	info, err := section.Data()
	if err != nil {
		return err
	}
	for entry := range strings.SplitSeq(string(info), "\x00") {
		key, value, _ := strings.Cut(entry, "=")
		switch key {
		case "alias":
			m.Aliases = append(m.Aliases, value)
		case "depends":
			for name := range strings.SplitSeq(value, ",") {
				if name != "" {
					m.before = append(m.before, strings.ReplaceAll(name, "-", "_"))
				}
			}
		case "softdep":
			m.before = append(m.before, t.softly(value)...)
		}
	}
	return nil
}

// softly gives those modules of "pre: a b post: c" that should be loaded first
// and that this kernel has. A crypto algorithm is asked for by its name; its
// plain C module has "_generic" in its own.
func (t *Tree) softly(value string) []string {
	var names []string
	pre := false
	for word := range strings.FieldsSeq(value) {
		if strings.HasSuffix(word, ":") {
			pre = word == "pre:"
			continue
		}
		word = strings.ReplaceAll(word, "-", "_")
		for _, name := range []string{word, word + "_generic"} {
			if pre && t.files[name] != "" {
				names = append(names, name)
			}
		}
	}
	return names
}
