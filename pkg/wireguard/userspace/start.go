package userspace

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// start starts the process; unix.EWOULDBLOCK where one still holds the directory.
//
// It inherits nothing but the socket for orders, the lock, and a log of its own: with
// the daemon's standard error it would keep a pipe open that somebody waits for. It
// is in a session of its own. In the daemon's control group it stays, so that the
// unit must not kill by group (KillMode=process).
func (p *Process) start() error {
	lock, err := p.lock()
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }() // the process keeps it locked
	control, err := p.listen()
	if err != nil {
		return fmt.Errorf("make the WireGuard process's socket: %w", err)
	}
	defer func() { _ = control.Close() }()
	log, err := os.OpenFile(filepath.Join(p.dir, "wg.log"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("make the WireGuard process's log: %w", err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(p.command[0], p.command[1:]...)
	cmd.Args[0], cmd.Dir, cmd.Env, cmd.Stderr = "zosnet", "/", []string{}, log
	cmd.ExtraFiles = []*os.File{control, lock}
	// What runs is the child that this one leaves behind: see detach.
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(log.Name())
		return fmt.Errorf("start the WireGuard process (%s): %w: %s", cmd, err, text)
	}
	p.log.Info("started the WireGuard process: this kernel has no WireGuard", "log", log.Name())
	return nil
}

func (p *Process) lock() (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(p.dir, "wg.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the WireGuard process's directory: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", lock.Name(), err), lock.Close())
	}
	return lock, nil
}

// listen makes the socket anew: whoever locked the directory knows that nobody
// listens on an old one.
func (p *Process) listen() (*os.File, error) {
	if err := os.Remove(p.control()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return listen("unixpacket", p.control())
}

func listen(network, path string) (*os.File, error) {
	listener, err := net.ListenUnix(network, &net.UnixAddr{Name: path, Net: network})
	if err != nil {
		return nil, err
	}
	defer func() { _ = listener.Close() }()
	listener.SetUnlinkOnClose(false)
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, err
	}
	return listener.File()
}
