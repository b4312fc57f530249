package loader

import (
	"testing"

	"github.com/cilium/ebpf/asm"

	"github.com/zosnet/zosnet/test/testenv"
)

// What the datapath needs is here, or none of the other tests could pass; what is
// missing comes with advice.
func TestProbe(t *testing.T) {
	testenv.RequireBPF(t)
	enter(t)
	names := map[string]bool{}
	for _, f := range Probe() {
		t.Logf("%-28s present %-5v needed %-5v %s", f.Name, f.Present, f.Needed, f.Detail)
		if names[f.Name] {
			t.Errorf("%s twice", f.Name)
		}
		names[f.Name] = true
		if f.Needed && !f.Present {
			t.Errorf("%s is missing: %s", f.Name, f.Detail)
		}
		if !f.Present && f.Advice == "" {
			t.Errorf("%s is missing without advice", f.Name)
		}
		if f.Detail == "" {
			t.Errorf("%s: nothing said about what was seen", f.Name)
		}
	}
}

// A kernel that lacks a helper (5.10 has no bpf_ktime_get_coarse_ns) is named in
// the words of its documentation.
func TestHelperName(t *testing.T) {
	for function, want := range map[asm.BuiltinFunc]string{
		asm.FnKtimeGetCoarseNs: "bpf_ktime_get_coarse_ns",
		asm.FnFibLookup:        "bpf_fib_lookup",
		asm.FnRedirectPeer:     "bpf_redirect_peer",
	} {
		if got := helperName(function); got != want {
			t.Errorf("%s is called %s, wanted %s", function, got, want)
		}
	}
}
