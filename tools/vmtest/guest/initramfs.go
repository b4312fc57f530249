// Package guest makes a guest of a kernel and an initramfs, runs it in QEMU
// and hands on what it says. It knows nothing of which tests there are.
package guest

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cavaliergopher/cpio"
)

// Archive writes an initramfs: a cpio archive (newc). Archives may stand one
// after the other in a file; the kernel unpacks all.
type Archive struct {
	cpio *cpio.Writer
	made map[string]bool // directories and files so far
}

// NewArchive writes to w.
func NewArchive(w io.Writer) *Archive {
	return &Archive{cpio: cpio.NewWriter(w), made: map[string]bool{".": true}}
}

// Close ends the archive.
func (a *Archive) Close() error { return a.cpio.Close() }

// merged are the directories that are links into /usr, as on every Debian
// since 12; packages may still hold files under their old paths.
var merged = []string{"bin", "sbin", "lib", "lib64"}

func place(path string) string {
	path = strings.TrimPrefix(filepath.Clean(path), "/")
	first, _, _ := strings.Cut(path, "/")
	if slices.Contains(merged, first) {
		return "usr/" + path
	}
	return path
}

// AddLinksIntoUsr adds /bin, /sbin, /lib and /lib64.
func (a *Archive) AddLinksIntoUsr() error {
	for _, dir := range merged {
		if err := a.directory("usr/" + dir); err != nil {
			return err
		}
		if err := a.write(&cpio.Header{Name: dir, Mode: cpio.TypeSymlink | 0o777}, []byte("usr/"+dir)); err != nil {
			return err
		}
	}
	return nil
}

// Add adds one file, and the directories above it. A path that is there
// already stays as it is.
func (a *Archive) Add(path string, mode fs.FileMode, content []byte) error {
	path = place(path)
	return a.entry(path, &cpio.Header{Name: path, Mode: cpio.TypeReg | cpio.FileMode(mode.Perm())}, content)
}

// AddLink adds a symbolic link.
func (a *Archive) AddLink(path, target string) error {
	path = place(path)
	return a.entry(path, &cpio.Header{Name: path, Mode: cpio.TypeSymlink | 0o777}, []byte(target))
}

// AddFile adds a file of this machine.
func (a *Archive) AddFile(path, source string) error {
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	content, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	return a.Add(path, info.Mode(), content)
}

// AddTree adds what is under a directory of this machine, without what leaveOut
// says; at is where it goes.
func (a *Archive) AddTree(at, root string, leaveOut func(path string) bool) error {
	return filepath.WalkDir(root, func(source string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		path, err := filepath.Rel(root, source)
		if err != nil {
			return err
		}
		switch {
		case leaveOut != nil && leaveOut(path):
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		case d.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(source)
			if err != nil {
				return err
			}
			return a.AddLink(filepath.Join(at, path), target)
		case d.Type().IsRegular():
			return a.AddFile(filepath.Join(at, path), source)
		}
		return nil
	})
}

func (a *Archive) entry(path string, header *cpio.Header, content []byte) error {
	if a.made[path] {
		return nil
	}
	if err := a.directory(filepath.Dir(path)); err != nil {
		return err
	}
	return a.write(header, content)
}

func (a *Archive) directory(path string) error {
	if a.made[path] {
		return nil
	}
	if err := a.directory(filepath.Dir(path)); err != nil {
		return err
	}
	return a.write(&cpio.Header{Name: path, Mode: cpio.TypeDir | 0o755}, nil)
}

func (a *Archive) write(header *cpio.Header, content []byte) error {
	a.made[header.Name] = true
	header.Size, header.Links = int64(len(content)), 1
	if err := a.cpio.WriteHeader(header); err != nil {
		return err
	}
	if len(content) == 0 {
		return nil
	}
	_, err := a.cpio.Write(content)
	return err
}
