//go:build vm

package vm

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/test/lab"
)

// TestMain keeps the tests off a machine that somebody needs.
func TestMain(m *testing.M) {
	if os.Getenv("ZOSNET_VM") != "1" {
		fmt.Fprintln(os.Stderr, "test/vm: these tests change the machine's own interfaces; run them in a guest: make vmtest RUN=test/vm")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// within bounds one try of a probe. A guest under translation is slow.
const within = 3 * time.Second

// self is the guest itself: the namespace in which its cards appear.
func self() *lab.Machine { return lab.NewMachine("guest", "/proc/1/ns/net") }

// machine makes a network namespace with lo up; it goes with the test, and what
// is in it with it. Cards go back to the guest.
func machine(t *testing.T, name string) *lab.Machine {
	t.Helper()
	guest := self()
	run(t, guest, "ip netns add "+name)
	t.Cleanup(func() { runLate(t, guest, "ip netns del "+name) })
	m := lab.NewMachine(name, "/run/netns/"+name)
	run(t, m, "ip link set lo up")
	return m
}

// run runs commands on a machine, one a line, and fails the test at the first
// that does.
func run(t *testing.T, on *lab.Machine, commands ...string) string {
	t.Helper()
	return runIn(t.Context(), t, on, commands...)
}

// runLate is run for cleaning up, when the test's context has ended.
func runLate(t *testing.T, on *lab.Machine, commands ...string) {
	t.Helper()
	_ = runIn(context.Background(), t, on, commands...)
}

func runIn(ctx context.Context, t *testing.T, on *lab.Machine, commands ...string) string {
	t.Helper()
	var out strings.Builder
	for _, text := range commands {
		for line := range strings.Lines(text) {
			words := strings.Fields(line)
			if len(words) == 0 {
				continue
			}
			text, err := on.Run(ctx, words[0], words[1:]...)
			if err != nil {
				t.Fatal(err)
			}
			out.WriteString(text)
		}
	}
	return out.String()
}

// eventually repeats try until it returns nil, and fails the test with its last
// error when the time is over.
func eventually(t *testing.T, bound time.Duration, try func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(bound); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if err = try(); err == nil {
			return
		}
	}
	t.Fatalf("still so after %v: %v", bound, err)
}

// kernelHas reports whether this kernel is of a version or later.
func kernelHas(t *testing.T, major, minor int) bool {
	t.Helper()
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	var gotMajor, gotMinor int
	release := unix.ByteSliceToString(name.Release[:])
	if _, err := fmt.Sscanf(release, "%d.%d", &gotMajor, &gotMinor); err != nil {
		t.Fatalf("kernel release %q: %v", release, err)
	}
	return gotMajor > major || gotMajor == major && gotMinor >= minor
}

// tcMode is how programs are attached to tc on this kernel: tcx came with 6.6.
func tcMode(t *testing.T) string {
	t.Helper()
	if kernelHas(t, 6, 6) {
		return "tcx"
	}
	return "clsact"
}

// check fails the test for an error, and goes on.
func check(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
}
