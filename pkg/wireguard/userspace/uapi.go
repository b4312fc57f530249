package userspace

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// uapiDir is where wg(8) and wgctrl look for devices that are no kernel's. All
// network namespaces share it.
const uapiDir = "/var/run/wireguard"

func uapiPath(name string) string { return filepath.Join(uapiDir, name+".sock") }

// Configurable tells whether a device has its configuration socket.
func Configurable(name string) bool {
	_, err := os.Lstat(uapiPath(name))
	return !errors.Is(err, os.ErrNotExist)
}

// listenUAPI makes the socket through which a device is configured, root's alone.
func listenUAPI(name string) (*os.File, error) {
	unlock, err := lockUAPI()
	if err != nil {
		return nil, err
	}
	defer unlock()
	path := uapiPath(name)
	if alive(path) {
		return nil, fmt.Errorf("make %s: another process has a WireGuard device of that name, perhaps in another network namespace", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove what is left of a WireGuard device: %w", err)
	}
	file, err := listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("make the socket of WireGuard device %s: %w", name, err)
	}
	return file, nil
}

// lockUAPI keeps other daemons from looking at a socket between its bind and its
// listen, when it looks stale.
func lockUAPI() (unlock func(), err error) {
	if err := os.MkdirAll(uapiDir, 0o755); err != nil {
		return nil, fmt.Errorf("make the directory of WireGuard sockets: %w", err)
	}
	dir, err := os.Open(uapiDir)
	if err != nil {
		return nil, fmt.Errorf("open the directory of WireGuard sockets: %w", err)
	}
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", uapiDir, err), dir.Close())
	}
	return func() { _ = dir.Close() }, nil
}

// alive tells whether somebody listens. Only a refusal is a no.
func alive(path string) bool {
	conn, err := net.Dial("unix", path)
	if err == nil {
		_ = conn.Close()
	}
	return err == nil || !errors.Is(err, unix.ECONNREFUSED) && !errors.Is(err, os.ErrNotExist)
}

// removeUAPI removes a device's socket, unless somebody listens on it: then it is
// another's.
func removeUAPI(name string) error {
	unlock, err := lockUAPI()
	if err != nil {
		return err
	}
	defer unlock()
	path := uapiPath(name)
	if alive(path) {
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the socket of WireGuard device %s: %w", name, err)
	}
	return nil
}

// removeStale removes the sockets that nobody listens on. What other programs make
// is asked twice, since they do not know the lock.
func (p *Process) removeStale() error {
	unlock, err := lockUAPI()
	if err != nil {
		return err
	}
	defer unlock()
	paths, err := filepath.Glob(uapiPath("*"))
	if err != nil {
		return err
	}
	dead := deadOf(paths)
	if len(dead) == 0 {
		return nil
	}
	time.Sleep(50 * time.Millisecond)
	for _, path := range deadOf(dead) {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove the socket of a WireGuard device whose process is dead: %w", err)
		}
		p.log.Info("removed the socket of a WireGuard device whose process is dead", "socket", path)
	}
	return nil
}

func deadOf(paths []string) (dead []string) {
	for _, path := range paths {
		if !alive(path) {
			dead = append(dead, path)
		}
	}
	return dead
}
