package lab

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// removeSockets removes the configuration sockets of WireGuard devices whose process
// was killed: wg(8) asks those of all network namespaces, and fails at one that
// nobody answers. One that somebody has bound and not yet listens on looks the same
// for a moment, so each is asked twice.
func removeSockets() error {
	paths, err := filepath.Glob("/var/run/wireguard/*.sock")
	if err != nil {
		return err
	}
	dead := refusing(paths)
	if len(dead) == 0 {
		return nil
	}
	time.Sleep(50 * time.Millisecond)
	for _, path := range refusing(dead) {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

func refusing(paths []string) (list []string) {
	for _, path := range paths {
		conn, err := net.Dial("unix", path)
		if err == nil {
			_ = conn.Close()
		}
		if errors.Is(err, unix.ECONNREFUSED) {
			list = append(list, path)
		}
	}
	return list
}
