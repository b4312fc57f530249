package resolver

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// nobody owns nothing: the overflow user and group of user_namespaces(7).
const nobody = 65534

// giveUpRoot makes the process nobody, without a way back. Whoever is not root is
// left as he is. Go changes the user of all threads (setuid(2), NOTES).
func giveUpRoot() error {
	// ENOTSUP: a program with C in it, where Go does not know every thread.
	_, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0)
	if errno != 0 && errno != unix.ENOTSUP {
		return fmt.Errorf("give up privileges: %w", errno)
	}
	if os.Geteuid() != 0 {
		return nil
	}
	for _, step := range []struct {
		name string
		call func() error
	}{
		{"groups", func() error { return syscall.Setgroups([]int{}) }},
		{"group", func() error { return syscall.Setresgid(nobody, nobody, nobody) }},
		{"user", func() error { return syscall.Setresuid(nobody, nobody, nobody) }},
	} {
		if err := step.call(); err != nil {
			return fmt.Errorf("give up root's %s: %w; the process needs CAP_SETUID and CAP_SETGID for that", step.name, err)
		}
	}
	return nil
}
