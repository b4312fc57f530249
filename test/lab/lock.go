package lab

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockFile serves all locks of the machine: one byte of it each. It goes when
// the last holder lets go.
const lockFile = "/run/zosnet-lab.lock"

// attachLock guards /run/netns/N.W, names that all labs of the machine share.
const attachLock = "(attach)"

// lock is an open file description's lock (fcntl(2), F_OFD_SETLK): it goes
// with the process, however that ends.
type lock struct {
	file *os.File
}

// takeLock waits for the lock called name until ctx ends.
func takeLock(ctx context.Context, name string) (*lock, error) {
	for {
		l, err := tryLock(name)
		if err == nil {
			return l, nil
		}
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) {
			return nil, fmt.Errorf("lock %s in %s: %w", name, lockFile, err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("lock %s in %s is held by another process: %w", name, lockFile, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func tryLock(name string) (*lock, error) {
	file, err := os.OpenFile(lockFile, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	at := unix.Flock_t{Type: unix.F_WRLCK, Start: offset(name), Len: 1}
	if err := unix.FcntlFlock(file.Fd(), unix.F_OFD_SETLK, &at); err != nil {
		_ = file.Close()
		return nil, err
	}
	// The last holder may have unlinked the file between our open and our
	// lock; a lock on a file that no one else can open guards nothing.
	var stat unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &stat); err != nil || stat.Nlink == 0 {
		_ = file.Close()
		return nil, unix.EAGAIN
	}
	return &lock{file: file}, nil
}

func offset(name string) int64 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	return int64(h.Sum32())
}

// release gives the lock back, and removes the file when nobody else holds a
// lock in it. A nil lock is none.
func (l *lock) release() {
	if l == nil || l.file == nil {
		return
	}
	whole := unix.Flock_t{Type: unix.F_WRLCK}
	if unix.FcntlFlock(l.file.Fd(), unix.F_OFD_SETLK, &whole) == nil {
		_ = os.Remove(lockFile)
	}
	_ = l.file.Close()
	l.file = nil
}
