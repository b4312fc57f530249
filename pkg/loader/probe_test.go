package loader

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

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

// On a kernel before 5.11 the error says what is missing and which kernel has it;
// what is only slower without is not mentioned.
func TestExplain(t *testing.T) {
	refused := errors.New("load programs: invalid argument")
	err := explain(refused, []Feature{
		{Name: "kernel", Present: true, Needed: true, Detail: "Linux 5.10.0 x86_64"},
		tried("tcx links", false, errors.New("not supported (requires >= v6.6)"), "none needed"),
		tried("BPF helpers", true, errors.New("bpf_ktime_get_coarse_ns in SchedCLS programs: not supported"), newerKernel),
	})
	want := "load programs: invalid argument\nmissing here:\n" +
		"\tBPF helpers: bpf_ktime_get_coarse_ns in SchedCLS programs: not supported; use Linux 6.1 or later"
	if err.Error() != want || !errors.Is(err, refused) {
		t.Errorf("got %q\nwanted %q", err, want)
	}
	if err := explain(refused, nil); !errors.Is(err, refused) || err.Error() != refused.Error() {
		t.Errorf("with nothing missing: %v", err)
	}
}

// The helpers that are tried are those that the programs call.
func TestHelpersOfThePrograms(t *testing.T) {
	testenv.RequireBPF(t)
	if n, err := haveHelpers(); n < 5 || err != nil {
		t.Errorf("%d helpers: %v", n, err)
	}
}

// A process that may not do what is needed is told which capability it lacks. It
// is a process of its own, since a thread does not get capabilities back.
func TestOpenWithoutCapabilities(t *testing.T) {
	if dir := os.Getenv("LOADER_TEST_WITHOUT_CAPABILITIES"); dir != "" {
		runtime.LockOSThread()
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		must(t, unix.Capset(&header, &none[0]))
		_, err := Open(Options{BPFFS: dir})
		fmt.Println(err)
		return
	}
	dir := bpffs(t)
	must(t, os.MkdirAll(dir, 0o700))
	child := exec.Command(os.Args[0], "-test.run=^TestOpenWithoutCapabilities$")
	child.Env = append(os.Environ(), "LOADER_TEST_WITHOUT_CAPABILITIES="+dir)
	out, err := child.CombinedOutput()
	must(t, err)
	for _, want := range []string{"CAP_BPF", "CAP_NET_ADMIN", "CAP_SYS_ADMIN", "AmbientCapabilities"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the error does not mention %s:\n%s", want, out)
		}
	}
}
