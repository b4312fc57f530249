package daemon

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/spec"
)

// locks keep a second daemon on the same directories from touching the datapath.
// The registry has a lock of its own, but it is opened later: lockdown must not
// wait for it. The kernel drops the locks with the process.
type locks []*os.File

// lockDirectories takes stateDir, for the registry, and runDir, for the ledger of
// what is in the kernel.
func lockDirectories(node *spec.Node) (held locks, err error) {
	defer func() {
		if err != nil {
			held.release()
		}
	}()
	state, err := lockDirectory(node.StateDir, 0o700)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return held, &registry.LockedError{Dir: node.StateDir}
	}
	if err != nil {
		return held, fmt.Errorf("lock the state directory: %w", err)
	}
	held = append(held, state)
	if node.RunDir == node.StateDir {
		return held, nil
	}
	run, err := lockDirectory(node.RunDir, 0o755)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return held, fmt.Errorf("the directory %s is in use by another daemon; stop that one, or set another runDir", node.RunDir)
	}
	if err != nil {
		return held, fmt.Errorf("lock the directory for sockets: %w", err)
	}
	return append(held, run), nil
}

func lockDirectory(dir string, mode os.FileMode) (*os.File, error) {
	if err := os.MkdirAll(dir, mode); err != nil {
		return nil, fmt.Errorf("%w; make room, or set another one in node.yaml", err)
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("flock %s: %w", dir, err), f.Close())
	}
	return f, nil
}

func (l locks) release() {
	for _, f := range l {
		_ = f.Close()
	}
}
