package registry

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// stateLock is the open STATEDIR/lock. The kernel drops the lock with the last
// descriptor, so a killed daemon leaves none behind.
type stateLock struct{ file *os.File }

// lockState takes the lock or gives a *LockedError that names the holder.
func lockState(stateDir string) (*stateLock, error) {
	path := filepath.Join(stateDir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w%s", path, err, unwritableAdvice(err))
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		defer func() { _ = f.Close() }()
		return nil, &LockedError{Dir: stateDir, PID: readPID(f)}
	}
	if err == nil {
		err = writePID(f)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w%s", path, err, unwritableAdvice(err))
	}
	return &stateLock{file: f}, nil
}

func (l *stateLock) release() error { return l.file.Close() }

func readPID(f *os.File) int {
	raw, err := io.ReadAll(io.LimitReader(f, 32))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		return 0
	}
	return pid
}

func writePID(f *os.File) error {
	line := []byte(strconv.Itoa(os.Getpid()) + "\n")
	if _, err := f.WriteAt(line, 0); err != nil {
		return err
	}
	return f.Truncate(int64(len(line)))
}

// unwritableAdvice says what to do about an error from the state directory.
func unwritableAdvice(err error) string {
	switch {
	case errors.Is(err, unix.EROFS):
		return "; mount it read-write or set another stateDir in node.yaml"
	case errors.Is(err, os.ErrPermission):
		return "; run as root, or make the directory writable for this user"
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return "; free some space and try again"
	case errors.Is(err, unix.ENOTDIR):
		return "; a file stands where a directory should: move it away or set another stateDir"
	}
	return ""
}
