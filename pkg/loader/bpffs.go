package loader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// mountBPFFS makes dir a directory of a bpffs: one in a bpffs that is mounted
// already, else a mount of its own, or, where sysfs lets nobody make directories
// (/sys/fs/bpf), one below a mount at that place.
func mountBPFFS(dir string) error {
	if !filepath.IsAbs(dir) {
		return fmt.Errorf("open bpffs: %q is not an absolute path; set bpffs in node.yaml, such as /sys/fs/bpf/zosnet", dir)
	}
	parent, err := existingParent(dir)
	if err != nil {
		return err
	}
	onBPFFS, err := isBPFFS(parent)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		if onBPFFS || parent == "/" {
			return fmt.Errorf("make directory on bpffs: %w", err)
		}
		if err := mountAt(parent); err != nil {
			return err
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make directory on bpffs: %w", err)
		}
		return nil
	}
	if onBPFFS {
		return nil
	}
	return mountAt(dir)
}

// existingParent gives dir, or the nearest directory above it that exists.
func existingParent(dir string) (string, error) {
	for dir = filepath.Clean(dir); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err == nil && !info.IsDir() {
			return "", fmt.Errorf("open bpffs: %s is not a directory", dir)
		}
		if err == nil || dir == "/" {
			return dir, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("open bpffs: %w", err)
		}
	}
}

func isBPFFS(dir string) (bool, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return false, fmt.Errorf("open bpffs: statfs %s: %w", dir, err)
	}
	return stat.Type == unix.BPF_FS_MAGIC, nil
}

// mountAt mounts a bpffs that no other mount namespace gets a copy of.
func mountAt(dir string) error {
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
	if err := unix.Mount("bpf", dir, "bpf", flags, "mode=0700"); err != nil {
		return fmt.Errorf("mount bpffs at %s: %w; run as root with CAP_SYS_ADMIN, or mount it yourself: mount -t bpf bpf %s",
			dir, err, dir)
	}
	if err := unix.Mount("", dir, "", unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mount at %s private: %w", dir, err)
	}
	return nil
}
