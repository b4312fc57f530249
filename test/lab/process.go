package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// process is a process that outlives the call that started it. Ids are used
// again by the kernel; the start time tells the second user from the first.
type process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot
}

func newProcess(pid int) (process, error) {
	start, err := startTime(pid)
	return process{PID: pid, Start: start}, err
}

// startTime reads field 22 of /proc/PID/stat (proc_pid_stat(5)).
func startTime(pid int) (uint64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name, field 2, may hold blanks and brackets: count from its end.
	end := strings.LastIndexByte(string(text), ')')
	fields := strings.Fields(string(text)[end+1:])
	const startField = 22 - 3
	if end < 0 || len(fields) <= startField {
		return 0, fmt.Errorf("/proc/%d/stat: unexpected form", pid)
	}
	return strconv.ParseUint(fields[startField], 10, 64)
}

// kill ends the process and waits until it is gone.
func (p process) kill() error {
	if p.PID == 0 {
		return nil
	}
	fd, err := unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open process %d: %w", p.PID, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if start, err := startTime(p.PID); err != nil || start != p.Start {
		return nil // gone, and its id is another's
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill process %d: %w", p.PID, err)
	}
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for deadline := time.Now().Add(endWithin); time.Now().Before(deadline); {
		n, err := unix.Poll(poll, 100)
		if n > 0 && err == nil {
			return nil
		}
	}
	return fmt.Errorf("process %d does not end", p.PID)
}

// killInside ends the programs that people left running in the namespace.
// Which namespace a process is in is what its first thread says; this process
// and its own threads are left alone.
func killInside(path string) error {
	var want unix.Stat_t
	if err := unix.Stat(path, &want); errors.Is(err, unix.ENOENT) {
		return nil // no such namespace: nobody is in it
	} else if err != nil {
		return fmt.Errorf("look for processes in %s: %w", path, err)
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() { // not a process, or this one
			continue
		}
		var got unix.Stat_t
		if unix.Stat(fmt.Sprintf("/proc/%d/ns/net", pid), &got) != nil ||
			got.Ino != want.Ino || got.Dev != want.Dev {
			continue
		}
		if p, err := newProcess(pid); err == nil {
			errs = append(errs, p.kill())
		}
	}
	return errors.Join(errs...)
}

// peers are the named workload namespaces (NETWORK.WORKLOAD) that a veth of
// this machine leads to, or once led to.
func (m *Machine) peers() ([]string, error) {
	var fs unix.Statfs_t
	if unix.Statfs(m.path, &fs) != nil || fs.Type != unix.NSFS_MAGIC {
		return nil, nil // the machine was never made
	}
	h, err := m.Netlink()
	if err != nil {
		return nil, err
	}
	defer h.Close()
	paths, err := filepath.Glob(filepath.Join(namespaceDir, "*.*"))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, path := range paths {
		if ok, err := knows(h, path); err != nil {
			return nil, err
		} else if ok {
			names = append(names, filepath.Base(path))
		}
	}
	return names, nil
}

// knows asks the kernel whether h's namespace has an id for another one,
// which it gives when a link first leads there (rtnetlink, RTM_GETNSID).
func knows(h *netlink.Handle, path string) (bool, error) {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return false, nil // vanished, or a plain file
	}
	defer func() { _ = ns.Close() }()
	id, err := h.GetNetNsIdByFd(int(ns))
	if errors.Is(err, unix.EINVAL) {
		return false, nil // not a network namespace
	}
	if err != nil {
		return false, fmt.Errorf("ask for the namespace id of %s: %w", path, err)
	}
	return id >= 0, nil
}
