package userspace

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// user is whom the process runs as: a number that is nobody's, in a range that
// systemd's table of users leaves unused (60706 to 61183), so that no other process
// may signal it either.
const user = 60820

// detach has the process go on without privileges, and without the daemon for its
// parent. In a process that has privileges it starts one that has none, gives it
// what it was given, and tells that this one is done.
func detach() (done bool, err error) {
	able, err := capable()
	if err != nil {
		return false, fmt.Errorf("ask for the process's capabilities: %w", err)
	}
	if !able {
		return false, private()
	}
	if session, err := unix.Getsid(0); err != nil || session == os.Getpid() {
		return false, errors.New("the process still has privileges after it gave them up") // rather than a child of its own
	}
	// Privileges are a thread's. The child is a copy of this one, and exec leaves it
	// no more than it has.
	runtime.LockOSThread()
	if err := strip(); err != nil {
		return false, fmt.Errorf("give the process's privileges up: %w", err)
	}
	child, err := os.StartProcess("/proc/self/exe", os.Args, &os.ProcAttr{
		Dir: "/", Env: []string{},
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr, os.NewFile(controlFD, "control"), os.NewFile(lockFD, "lock")},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return false, fmt.Errorf("start the process without privileges (others than root must be able to run the program): %w", err)
	}
	return true, child.Release()
}

func capable() (bool, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false, err
	}
	return data[0].Permitted|data[1].Permitted != 0, nil
}

// strip leaves the calling thread without capabilities, for good: exec grants none
// after PR_SET_NO_NEW_PRIVS (capabilities(7)). Another user it becomes where it may;
// a daemon whose unit withholds CAP_SETUID has a process that is root in name.
func strip() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	// The raw calls, for this thread only: those of syscall are for all threads.
	id := uintptr(user)
	for _, call := range [][4]uintptr{{unix.SYS_SETGROUPS}, {unix.SYS_SETRESGID, id, id, id}, {unix.SYS_SETRESUID, id, id, id}} {
		if _, _, errno := unix.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 && errno != unix.EPERM {
			return errno
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	return unix.Capset(&header, &none[0])
}

// private keeps what the process holds, keys among it, from debuggers and core files.
func private() error {
	return errors.Join(unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0),
		unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}))
}
