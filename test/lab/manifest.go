package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// manifest is what a lab remembers on disk, so that another process can
// remove all of it.
type manifest struct {
	Name       string    `json:"name"`
	Keep       bool      `json:"keep"`
	Made       time.Time `json:"made"`
	Namespaces []string  `json:"namespaces"` // by name under /run/netns
	Workloads  []string  `json:"workloads"`  // the same, as attached through this lab
	Nodes      []placed  `json:"nodes"`
}

// placed is a node of the lab.
type placed struct {
	Machine string  `json:"machine"` // its role
	Dir     string  `json:"dir"`     // its daemon's files
	Daemon  process `json:"daemon"`  // started last; none yet: 0
}

const (
	manifestFile = "manifest.json"
	bpffsDir     = "bpf"
)

func readManifest(dir string) (*manifest, error) {
	text, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if err != nil {
		return nil, err
	}
	m := &manifest{}
	if err := json.Unmarshal(text, m); err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Join(dir, manifestFile), err)
	}
	return m, nil
}

// write replaces the manifest in one step: a kill leaves the old or the new.
func (m *manifest) write(dir string) error {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, manifestFile)
	if err := os.WriteFile(path+".new", append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// remove undoes the lab in dir. It goes on after an error, so that one thing
// which cannot be removed keeps back nothing else; the manifest stays then.
func (m *manifest) remove(dir string) error {
	var errs []error
	for _, n := range m.Nodes {
		errs = append(errs, n.Daemon.kill())
	}
	workloads, err := m.attached()
	errs = append(errs, err)
	namespaces := slices.Concat(workloads, m.Namespaces)
	for _, name := range namespaces {
		errs = append(errs, killInside(filepath.Join(namespaceDir, name)))
	}
	for _, n := range m.Nodes {
		errs = append(errs, removeBPFFS(filepath.Join(n.Dir, bpffsDir)))
	}
	errs = append(errs, unmountBelow(dir), removeSockets())
	for _, name := range namespaces {
		errs = append(errs, removeNamespace(name))
	}
	for _, name := range namespaces {
		errs = append(errs, os.RemoveAll(filepath.Join(configDir, name)))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("lab %s: remove: %w", m.Name, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	_ = os.Remove(Dir) // goes with the last lab
	return nil
}

// sweep removes the labs whose processes were killed: their workloads still
// have names that other labs want. A lab whose name is locked is somebody's.
func sweep() error {
	files, err := filepath.Glob(filepath.Join(Dir, "*", manifestFile))
	if err != nil {
		return err
	}
	var errs []error
	for _, file := range files {
		dir := filepath.Dir(file)
		held, err := tryLock(filepath.Base(dir))
		if err != nil {
			continue
		}
		if m, err := readManifest(dir); err == nil && !m.Keep {
			errs = append(errs, m.remove(dir))
		}
		held.release()
	}
	return errors.Join(errs...)
}

// attached lists the workload namespaces of this lab: those recorded, and
// those that somebody attached through a daemon's own command line, which
// the kernel knows as peers of that node's namespace.
func (m *manifest) attached() ([]string, error) {
	names := slices.Clone(m.Workloads)
	var errs []error
	for _, n := range m.Nodes {
		found, err := NewMachine(n.Machine, filepath.Join(namespaceDir, namespaceName(m.Name, n.Machine))).peers()
		names, errs = append(names, found...), append(errs, err)
	}
	slices.Sort(names)
	return slices.Compact(names), errors.Join(errs...)
}

// removeBPFFS unpins everything, so that no link or map outlives the lab in
// another mount of the same file system, and unmounts.
func removeBPFFS(dir string) error {
	var fs unix.Statfs_t
	for unix.Statfs(dir, &fs) == nil && fs.Type == unix.BPF_FS_MAGIC {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".debug") {
				continue // the kernel's own (bpf_preload), nobody may unlink it
			}
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return fmt.Errorf("unpin: %w", err)
			}
		}
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", dir, err)
		}
	}
	return nil
}

// unmountBelow takes away what was mounted in the lab's directory, such as a
// small disk that a test gave its daemon, the latest first.
func unmountBelow(dir string) error {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	var below []string
	for line := range strings.Lines(string(mounts)) {
		if at := strings.Fields(line)[1]; strings.HasPrefix(at, dir+"/") {
			below = append(below, at)
		}
	}
	var errs []error
	for _, at := range slices.Backward(below) {
		if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
			errs = append(errs, fmt.Errorf("unmount %s: %w", at, err))
		}
	}
	return errors.Join(errs...)
}
