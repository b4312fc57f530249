package daemon

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/registry"
)

// lockState keeps a second daemon on the same state directory from touching the
// datapath. The registry has a lock of its own, but it is opened later: lockdown
// must not wait for it. The kernel drops the lock with the process.
func lockState(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the state directory: %w; make room, or set another stateDir", err)
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open the state directory: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return f, nil
	}
	_ = f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, &registry.LockedError{Dir: dir}
	}
	return nil, fmt.Errorf("lock the state directory %s: %w", dir, err)
}
