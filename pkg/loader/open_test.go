package loader

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/test/testenv"
)

// A directory that is no bpffs gets one; one that lies in a bpffs is used as it
// is; a place where that cannot be is an error that says so.
func TestMountBPFFS(t *testing.T) {
	testenv.RequireBPF(t)
	plain := filepath.Join(t.TempDir(), "bpf")
	must(t, mountBPFFS(plain))
	t.Cleanup(func() { must(t, unix.Unmount(plain, unix.MNT_DETACH)) })
	inside := filepath.Join(plain, "a", "b")
	must(t, mountBPFFS(inside))
	must(t, mountBPFFS(inside)) // again
	for _, dir := range []string{plain, inside} {
		if on, err := isBPFFS(dir); err != nil || !on {
			t.Errorf("%s is no bpffs: %v", dir, err)
		}
	}
	var stat, below unix.Stat_t
	must(t, unix.Stat(plain, &stat))
	must(t, unix.Stat(inside, &below))
	if stat.Dev != below.Dev {
		t.Error("a directory in a bpffs was mounted over")
	}
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	if err := mountBPFFS(filepath.Join(file, "bpf")); err == nil {
		t.Error("a file was taken for a directory")
	}
}

// Every program, pin and map name reads well in bpftool: at most 15 bytes of a
// program's name reach the kernel, so the first 15 must tell them apart.
func TestProgramsArePinnedByName(t *testing.T) {
	enter(t)
	options := Options{BPFFS: bpffs(t)}
	d := openDatapath(t, options)
	for _, variant := range []string{uplinkXDP + genericSuffix, uplinkXDP + bareSuffix} {
		_, err := d.program(variant)
		must(t, err)
	}
	short := map[string]string{}
	for name, program := range d.programs {
		pinned, err := ebpf.LoadPinnedProgram(d.path("progs", name), nil)
		must(t, err)
		a, err := pinned.Info()
		must(t, err)
		b, err := program.Info()
		must(t, err)
		must(t, pinned.Close())
		idA, _ := a.ID()
		if idB, _ := b.ID(); idA != idB {
			t.Errorf("pin %s is program %d, loaded is %d", name, idA, idB)
		}
		if isVariant(name) {
			continue // the same function, which is what bpftool shows
		}
		if other := short[a.Name]; other != "" {
			t.Errorf("%s and %s are both %s in the kernel", name, other, a.Name)
		}
		short[a.Name] = name
	}
	if len(short) == 0 {
		t.Error("no programs")
	}
	must(t, d.Close())
	d = openDatapath(t, options)
	if _, err := os.Stat(d.path("progs", uplinkXDP+genericSuffix)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a variant that no interface needs is still pinned: %v", err)
	}
}

// A program that the verifier refuses is an error with the verifier's words, and
// links keep the programs that they have: all of a set are loaded first.
func TestRefusedProgramChangesNothing(t *testing.T) {
	enter(t)
	options := Options{BPFFS: bpffs(t)}
	veth(t, "up0", "world0")
	d := openDatapath(t, options)
	_, err := d.AttachUplink("up0")
	must(t, err)
	before := programsOn(t, d)

	specs, err := builtIn()
	must(t, err)
	bad := specs[slices.IndexFunc(specs, func(s *ebpf.CollectionSpec) bool { return !isVariants(s) })]
	for _, program := range bad.Programs {
		program.Instructions = asm.Instructions{asm.LoadMem(asm.R0, asm.R9, 0, asm.DWord), asm.Return()}
		break
	}
	_, err = open(options, specs)
	var verifier *ebpf.VerifierError
	if !errors.As(err, &verifier) || !strings.Contains(err.Error(), "R9 !read_ok") {
		t.Errorf("got %v", err)
	}
	for name, id := range programsOn(t, d) {
		if before[name] != id {
			t.Errorf("%s was replaced although another program was refused", name)
		}
	}
}

// While maps change their layout, links keep the old programs until Commit, and
// their identity beyond it.
func TestCommitSwitchesPrograms(t *testing.T) {
	for way, options := range ways {
		t.Run(way, func(t *testing.T) {
			enter(t)
			options.BPFFS = bpffs(t)
			veth(t, "up0", "world0")
			veth(t, "zw0", "eth0")
			d := openDatapath(t, options)
			attachBoth(t, d, "zw0")
			ids, programs := linkIDs(t, d), programsOn(t, d)
			must(t, d.Close())
			shrinkMap(t, filepath.Join(options.BPFFS, "maps", "uplinks"))

			now := openDatapath(t, options)
			if len(now.Maps().Changed()) != 1 {
				t.Fatalf("changed: %v", now.Maps().Changed())
			}
			attachBoth(t, now, "zw0")
			for name, id := range programsOn(t, now) {
				if programs[name] != id {
					t.Errorf("%s was replaced before Commit", name)
				}
			}
			must(t, now.Commit())
			must(t, now.Commit()) // again
			compareLinks(t, "after Commit", ids, linkIDs(t, now))
			for name, id := range programsOn(t, now) {
				if programs[name] == id {
					t.Errorf("%s was not replaced by Commit", name)
				}
			}
			must(t, now.Close())
			if again := openDatapath(t, options); len(again.Maps().Changed()) != 0 {
				t.Errorf("after Commit still changed: %v", again.Maps().Changed())
			}
		})
	}
}

// shrinkMap pins a smaller copy of a hash in its place, as an earlier build might
// have made it.
func shrinkMap(t *testing.T, path string) {
	t.Helper()
	m, err := ebpf.LoadPinnedMap(path, nil)
	must(t, err)
	defer func() { _ = m.Close() }()
	small, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: "uplinks", Type: m.Type(), KeySize: m.KeySize(), ValueSize: m.ValueSize(),
		MaxEntries: m.MaxEntries() / 2, Flags: m.Flags(),
	})
	must(t, err)
	defer func() { _ = small.Close() }()
	must(t, os.Remove(path))
	must(t, small.Pin(path))
}
