//go:build compilers

package loader

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cilium/ebpf"
)

// Programs made by other compilers than that of this build verify, too. Each
// directory of ZOSNET_OBJECTS is named after a compiler and holds its objects;
// `make vmtest-clang` makes them.
func TestCompilers(t *testing.T) {
	compilers, err := os.ReadDir(os.Getenv("ZOSNET_OBJECTS"))
	must(t, err)
	for _, compiler := range compilers {
		t.Run(compiler.Name(), func(t *testing.T) {
			enter(t)
			files, err := filepath.Glob(filepath.Join(os.Getenv("ZOSNET_OBJECTS"), compiler.Name(), "*.o"))
			must(t, err)
			var specs []*ebpf.CollectionSpec
			programs := 0
			for _, file := range files {
				spec, err := ebpf.LoadCollectionSpec(file)
				must(t, err)
				if filepath.Base(file) == "overlay.o" {
					must(t, setBare(spec))
				}
				specs = append(specs, spec)
				programs += len(spec.Programs)
			}
			d, err := open(Options{BPFFS: bpffs(t)}, specs)
			must(t, err)
			t.Cleanup(func() { must(t, d.Close()) })
			own, err := builtIn()
			must(t, err)
			for _, spec := range own {
				for name := range spec.Programs {
					if !isVariant(name) { // of the same object
						programs--
					}
				}
			}
			if programs != 0 {
				t.Errorf("%d programs more than this build has", programs)
			}
			for name, program := range d.programs {
				info, err := program.Info()
				must(t, err)
				n, _ := info.VerifiedInstructions()
				t.Logf("verified %s_%s: %d instructions", name, compiler.Name(), n)
			}
		})
	}
}
