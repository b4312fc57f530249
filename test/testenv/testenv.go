// Package testenv says what a test needs from the machine it runs on, and
// decides what a lack of it means.
//
// On a developer's machine a test that cannot run is skipped with the reason.
// Where CI=true or ZOSNET_NO_SKIP=1 is set the same lack fails the test, so
// that a skip never hides a break. Besides, it waits for what a kernel does later
// than it says. The package knows nothing of labs, daemons or packets.
package testenv

import (
	"os"
	"os/exec"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// noSkip reports whether a lack is a failure here.
func noSkip() bool {
	return os.Getenv("CI") == "true" || os.Getenv("ZOSNET_NO_SKIP") == "1"
}

// Lack ends the test: skipped, or failed where skips are not allowed.
func Lack(t testing.TB, format string, args ...any) {
	t.Helper()
	if noSkip() {
		t.Fatalf("this machine lacks what the test needs: "+format, args...)
	}
	t.Skipf("skipped: "+format, args...)
}

// RequireRoot ends the test unless it runs as root in a user namespace that
// may make network namespaces.
func RequireRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Lack(t, "needs root (run it with sudo)")
	}
}

// RequireTool ends the test unless the named program is in PATH, and returns
// its path.
func RequireTool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Lack(t, "needs the program %q (make setup installs it)", name)
	}
	return path
}

// RequireBPF ends the test unless this process may use the bpf system call.
func RequireBPF(t testing.TB) {
	t.Helper()
	RequireRoot(t)
	// BPF_PROG_GET_NEXT_ID wants CAP_SYS_ADMIN and reads nothing but an id.
	const progGetNextID = 11
	var attr [16]byte
	_, _, errno := unix.Syscall(unix.SYS_BPF, progGetNextID, uintptr(unsafe.Pointer(&attr)), uintptr(len(attr)))
	if errno != 0 && errno != unix.ENOENT {
		Lack(t, "needs the bpf system call: %v", errno)
	}
}

// Short ends the test in -short mode, with what it would have cost.
func Short(t testing.TB, cost string) {
	t.Helper()
	if testing.Short() {
		t.Skipf("skipped: -short, and this takes %s", cost)
	}
}
