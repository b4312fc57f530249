package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// namespaceDir is where iproute2 looks for named network namespaces.
const namespaceDir = "/run/netns"

// configDir is where iproute2 looks for their resolv.conf.
const configDir = "/etc/netns"

func namespaceName(lab, role string) string { return "zl-" + lab + "-" + role }

// makeNamespace makes a network namespace and binds it to its name, as
// `ip netns add` does.
func makeNamespace(name string) error {
	if err := os.MkdirAll(namespaceDir, 0o755); err != nil {
		return err
	}
	path := filepath.Join(namespaceDir, name)
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return fmt.Errorf("name a network namespace: %w", err)
	}
	_ = file.Close()

	done := make(chan error)
	go func() {
		// Never unlocked: the thread is in another namespace now, and ends
		// with this goroutine.
		runtime.LockOSThread()
		done <- bindNewNamespace(path)
	}()
	if err := <-done; err != nil {
		return errors.Join(fmt.Errorf("make network namespace %s: %w", name, err), os.Remove(path))
	}
	return nil
}

func bindNewNamespace(path string) error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	own := fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid())
	if err := unix.Mount(own, path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s: %w", path, err)
	}
	return nil
}

// removeNamespace takes the name away; the namespace goes with its last
// process and socket. A name that is not there is no error.
func removeNamespace(name string) error {
	path := filepath.Join(namespaceDir, name)
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil &&
		!errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
