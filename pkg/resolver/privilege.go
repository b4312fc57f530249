package resolver

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// user is whom the process runs as: a number that is nobody's, in a range that
// systemd's table of users leaves unused (60706 to 61183), so that no other process
// may signal it either.
const user = 60853

// giveUpRoot leaves the process without privileges, for good, and makes it another
// user where it may: a daemon whose unit withholds CAP_SETUID has a process that is
// root in name. Whoever is not root is left as he is. The calls are those for all
// threads of the process; they are not to be had in a program with C in it (ENOTSUP).
func giveUpRoot() error {
	_, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0)
	if errno != 0 && errno != unix.ENOTSUP {
		return fmt.Errorf("give up privileges: %w", errno)
	}
	if os.Geteuid() != 0 {
		return nil
	}
	err := becomeUser()
	if err != nil && !errors.Is(err, unix.EPERM) {
		return err
	}
	if none := dropCapabilities(); none != nil && err != nil {
		return fmt.Errorf("give up root: %w; %w", err, none)
	}
	return nil
}

func becomeUser() error {
	for _, step := range []struct {
		name string
		call func() error
	}{
		{"groups", func() error { return syscall.Setgroups([]int{}) }},
		{"group", func() error { return syscall.Setresgid(user, user, user) }},
		{"user", func() error { return syscall.Setresuid(user, user, user) }},
	} {
		if err := step.call(); err != nil {
			return fmt.Errorf("give up root's %s: %w", step.name, err)
		}
	}
	return nil
}

func dropCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&none[0])), 0)
	if errno != 0 {
		return fmt.Errorf("give up capabilities: %w", errno)
	}
	return nil
}
