package userspace

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Stop ends the process of a directory (Options.Dir), if one runs, and with it all
// devices that it carries: what remains to be done when a node is taken down for
// good. It returns when the process is gone.
func Stop(dir string) error {
	p := &Process{dir: dir}
	names, err := p.List()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := p.Remove(name); err != nil {
			return err
		}
	}
	// One that never had a device ends, too.
	if _, err := p.ask(order{Op: opRemove}); err != nil && !absent(err) {
		return fmt.Errorf("end the WireGuard process: %w", err)
	}
	for deadline := time.Now().Add(orderTime); ; time.Sleep(10 * time.Millisecond) {
		lock, err := p.lock()
		switch {
		case err == nil:
			return lock.Close()
		case errors.Is(err, os.ErrNotExist): // no directory, no process
			return nil
		case !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(deadline):
			return fmt.Errorf("wait for the WireGuard process to end: %w", err)
		}
	}
}
