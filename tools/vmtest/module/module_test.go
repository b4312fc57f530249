package module

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// tree is a kernel whose modules' descriptions are given: what the ELF files of a
// real one say.
func tree(before map[string][]string, builtIn ...string) *Tree {
	t := &Tree{release: "6.1", files: map[string]string{}, builtIn: map[string]bool{}, read: map[string]*Module{}}
	for name, names := range before {
		t.files[name] = name + ".ko"
		t.read[name] = &Module{Name: name, before: names}
	}
	for _, name := range builtIn {
		t.builtIn[name] = true
	}
	return t
}

func TestClosure(t *testing.T) {
	kernel := tree(map[string][]string{
		"bridge": {"stp", "llc"}, "stp": {"llc"}, "llc": nil, "veth": nil, "nft_ct": {"nf_tables", "core"}, "nf_tables": nil,
		"odd": {"even"}, "even": {"odd"}, "broken": {"gone"},
	}, "core")
	for _, c := range []struct {
		want  []string
		order []string
	}{
		{[]string{"veth"}, []string{"veth"}},
		{[]string{"bridge"}, []string{"llc", "stp", "bridge"}},
		{[]string{"bridge", "stp", "bridge"}, []string{"llc", "stp", "bridge"}},
		{[]string{"nft_ct"}, []string{"nf_tables", "nft_ct"}},
		{[]string{"core"}, nil},
	} {
		all, err := kernel.Closure(c.want)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, m := range all {
			names = append(names, m.Name)
		}
		if !slices.Equal(names, c.order) {
			t.Errorf("%q: %q, want %q", c.want, names, c.order)
		}
	}
	for _, name := range []string{"gone", "broken"} {
		if _, err := kernel.Closure([]string{name}); !errors.Is(err, ErrMissing) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := kernel.Closure([]string{"odd"}); err == nil {
		t.Error("a circle has an order")
	}
}

func TestSoftly(t *testing.T) {
	kernel := tree(map[string][]string{"crc32c_generic": nil, "zstd": nil})
	if got := kernel.softly("pre: crc32c post: zstd"); !slices.Equal(got, []string{"crc32c_generic"}) {
		t.Errorf("got %q", got)
	}
}

// Which modules there are comes from the files' names, whether compressed or not.
func TestOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "6.1.0")
	for _, name := range []string{"kernel/drivers/net/veth.ko", "kernel/net/virtio-rng.ko.xz", "kernel/readme"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	list := filepath.Join(dir, "modules.builtin")
	if err := os.WriteFile(list, []byte("kernel/net/af-packet.ko\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	kernel, err := Open(dir, list)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"veth": true, "virtio_rng": true, "af_packet": true, "readme": false, "dummy": false} {
		if kernel.Has(name) != want {
			t.Errorf("has %s: %v", name, !want)
		}
	}
}
