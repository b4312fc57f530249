package apply

import (
	"fmt"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// threadNamespace is the calling thread's network namespace.
const threadNamespace = "/proc/thread-self/ns/net"

// onThread runs f on a thread that f may take into another network namespace. The
// thread is taken back afterwards; where that fails it ends with its goroutine.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		own, err := os.Open(threadNamespace)
		if err != nil {
			runtime.UnlockOSThread()
			done <- err
			return
		}
		defer func() { _ = own.Close() }()
		err = f()
		if unix.Setns(int(own.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// inside runs f in the network namespace of an open file, with a handle there.
// What f opens below /proc/sys/net is that namespace's.
func inside(namespace *os.File, f func(*netlink.Handle) error) error {
	return onThread(func() error {
		if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace %s: %w", namespace.Name(), err)
		}
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return fmt.Errorf("open netlink in %s: %w", namespace.Name(), err)
		}
		defer h.Close()
		return f(h)
	})
}
