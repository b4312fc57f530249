package resolver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// The files of a resolver's directory.
const (
	zoneFile    = "zone"
	forwardFile = "forward"

	// lockFile is locked by the process that answers from the directory, if the
	// daemon started it, and says where it answers. Without it, it ends.
	lockFile = "lock"
)

// dir is a directory that is read again when a file in it is replaced. It is opened
// once: whoever reads need not be able to find it again.
type dir struct {
	name    string
	held    bool // there was a lock when it was opened
	fd      int
	changes *os.File // inotify(7)
}

func openDir(name string) (*dir, error) {
	fd, err := unix.Open(name, unix.O_DIRECTORY|unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the directory %s: %w", name, err)
	}
	watch, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("watch %s: %w", name, err), unix.Close(fd))
	}
	if _, err := unix.InotifyAddWatch(watch, name, unix.IN_MOVED_TO|unix.IN_CLOSE_WRITE|unix.IN_DELETE|unix.IN_ONLYDIR); err != nil {
		return nil, errors.Join(fmt.Errorf("watch %s: %w", name, err), unix.Close(watch), unix.Close(fd))
	}
	d := &dir{name: name, fd: fd, changes: os.NewFile(uintptr(watch), "inotify")}
	d.held = d.has(lockFile)
	return d, nil
}

func (d *dir) has(file string) bool {
	return unix.Faccessat(d.fd, file, unix.F_OK, 0) == nil
}

func (d *dir) close() {
	_ = d.changes.Close() // closed already when ctx ended
	_ = unix.Close(d.fd)  // was only read from
}

func (d *dir) path(file string) string { return filepath.Join(d.name, file) }

func (d *dir) read(file string) ([]byte, error) {
	fd, err := unix.Openat(d.fd, file, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", d.path(file), err)
	}
	f := os.NewFile(uintptr(fd), file)
	defer func() { _ = f.Close() }() // was only read from
	text, err := io.ReadAll(io.LimitReader(f, maxZone+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", d.path(file), err)
	}
	return text, nil
}

// errReleased says that the process is not wanted any more.
var errReleased = errors.New("the lock is gone")

// follow calls changed whenever something in the directory was replaced, until ctx
// ends. Several changes at once may be one call. It gives errReleased when the lock
// has gone.
func (d *dir) follow(ctx context.Context, changed func()) error {
	stop := context.AfterFunc(ctx, func() { _ = d.changes.Close() }) // ends the read
	defer stop()
	events := make([]byte, 4096)
	for {
		if _, err := d.changes.Read(events); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("watch %s: %w", d.name, err)
		}
		if d.held && !d.has(lockFile) {
			return errReleased
		}
		changed()
	}
}
