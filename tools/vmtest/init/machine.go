package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/tools/vmtest/job"
)

// openConsole gives this process its outputs: the initramfs holds no device
// file, so the kernel has started it with none.
func openConsole() error {
	if err := os.MkdirAll("/dev", 0o755); err != nil {
		return err
	}
	if err := unix.Mount("devtmpfs", "/dev", "devtmpfs", 0, ""); err != nil {
		return err
	}
	console, err := unix.Open("/dev/console", unix.O_RDWR, 0)
	if err != nil {
		return err
	}
	for fd := range 3 {
		if console != fd {
			if err := unix.Dup2(console, fd); err != nil {
				return err
			}
		}
	}
	return nil
}

type mount struct{ kind, at, data string }

// What is mounted before modules are loaded: systemd mounts the rest itself.
var (
	firstMounts = []mount{{"proc", "/proc", ""}, {"sysfs", "/sys", ""}}
	allMounts   = append(slices.Clone(firstMounts), []mount{
		{"devpts", "/dev/pts", ""},
		{"tmpfs", "/dev/shm", ""},
		{"tmpfs", "/run", "mode=755"},
		{"tmpfs", "/tmp", ""},
		{"tmpfs", "/var", "mode=755"},
		{"bpf", "/sys/fs/bpf", "mode=700"},
		{"cgroup2", "/sys/fs/cgroup", ""},
		{"tracefs", "/sys/kernel/tracing", ""},
	}...)
)

func mountAll(list []mount) error {
	for _, m := range list {
		if err := os.MkdirAll(m.at, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, m.at, m.kind, 0, m.data); err != nil {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	return nil
}

// describeMachine makes what a test finds on any machine.
func describeMachine() error {
	for _, dir := range []string{"/run/netns", "/var/lib", "/var/log", "/root", job.StateDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	// As systemd does: mounts in /run/netns must be seen by everybody.
	if err := unix.Mount("", "/", "", unix.MS_SHARED|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("make mounts shared: %w", err)
	}
	// /dev is the kernel's; these links are udev's.
	for name, target := range map[string]string{
		"/var/run": "/run", "/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0",
		"/dev/stdout": "/proc/self/fd/1", "/dev/stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(target, name); err != nil && !os.IsExist(err) {
			return err
		}
	}
	return errors.Join(setEnvironment(), unix.Sethostname([]byte("guest")))
}

func setEnvironment() error {
	for name, value := range map[string]string{
		"HOME": "/root", "TERM": "linux", "USER": "root",
		"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	} {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	return nil
}

// openPort opens a virtio-serial port by its name.
func openPort(name string) (*os.File, error) {
	const within = 10 * time.Second
	for began := time.Now(); time.Since(began) < within; time.Sleep(20 * time.Millisecond) {
		names, err := filepath.Glob("/sys/class/virtio-ports/*/name")
		if err != nil {
			return nil, err
		}
		for _, each := range names {
			if text, err := os.ReadFile(each); err == nil && strings.TrimSpace(string(text)) == name {
				return os.OpenFile("/dev/"+filepath.Base(filepath.Dir(each)), os.O_WRONLY, 0)
			}
		}
	}
	return nil, fmt.Errorf("no virtio-serial port %q within %v", name, within)
}

func mountDisk() error {
	const within = 10 * time.Second
	var err error
	for began := time.Now(); time.Since(began) < within; time.Sleep(20 * time.Millisecond) {
		if err = unix.Mount("/dev/vda", job.StateDir, "ext4", 0, ""); err == nil {
			return nil
		}
	}
	return fmt.Errorf("mount the disk: %w", err)
}
