package loader

import (
	"testing"
)

// The verifier gives up after a million instructions. A program that needs half
// of that on one kernel may need more than all on another, whose verifier looks
// closer.
func TestVerifierBudget(t *testing.T) {
	const limit, most = 1_000_000, 500_000
	enter(t)
	d := openDatapath(t, Options{BPFFS: bpffs(t)})
	for _, variant := range []string{uplinkXDP + genericSuffix, uplinkXDP + bareSuffix} {
		_, err := d.program(variant)
		must(t, err)
	}
	for name, program := range d.programs {
		info, err := program.Info()
		must(t, err)
		n, ok := info.VerifiedInstructions()
		if !ok {
			t.Fatalf("%s: this kernel does not tell what its verifier did", name)
		}
		// tools/vmtest reads this line.
		t.Logf("verified %s: %d instructions", name, n)
		if n > most {
			t.Errorf("%s: the verifier processed %d instructions, more than half of its limit of %d", name, n, limit)
		}
	}
}
