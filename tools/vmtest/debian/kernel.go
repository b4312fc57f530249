package debian

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
)

// Kernel is a kernel's files.
type Kernel struct {
	Package Package
	Release string // as `uname -r` says
	Image   string // path of vmlinuz
	Modules string // the directory /lib/modules/RELEASE
	BuiltIn string // modules.builtin, the list of what needs no module
}

// parts are the packages that a kernel is made of. Up to 6.18 there is one;
// after that image is empty and the files are in binary, modules and base.
var parts = regexp.MustCompile(`^linux-(image|binary|modules|base)-[0-9a-z.+-]*cloud-amd64$`)

// FetchKernel fetches the kernel that a metapackage stands for now.
func (a *APT) FetchKernel(ctx context.Context, metapackage string) (*Kernel, error) {
	return upToDate(ctx, a, func() (*Kernel, error) { return a.fetchKernel(ctx, metapackage) })
}

func (a *APT) fetchKernel(ctx context.Context, metapackage string) (*Kernel, error) {
	first, err := a.Candidate(ctx, metapackage)
	if err != nil {
		return nil, err
	}
	todo, all := []Package{first}, []Package{}
	for len(todo) > 0 {
		p := todo[0]
		todo, all = todo[1:], append(all, p)
		names, err := a.depends(ctx, p)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			next := Package{name, first.Version}
			if parts.MatchString(name) && !slices.Contains(all, next) && !slices.Contains(todo, next) {
				todo = append(todo, next)
			}
		}
	}
	// The metapackage itself is empty.
	dirs, err := a.unpack(ctx, all[1:])
	if err != nil {
		return nil, err
	}
	return findKernel(first, dirs)
}

func findKernel(p Package, dirs []string) (*Kernel, error) {
	k := &Kernel{Package: p}
	for _, dir := range dirs {
		for pattern, into := range map[string]*string{
			"boot/vmlinuz-*": &k.Image, "usr/lib/modules/*/vmlinuz": &k.Image,
			"lib/modules/*/modules.builtin":     &k.BuiltIn,
			"usr/lib/modules/*/modules.builtin": &k.BuiltIn,
			"lib/modules/*/kernel":              &k.Modules,
			"usr/lib/modules/*/kernel":          &k.Modules,
		} {
			found, err := filepath.Glob(filepath.Join(dir, pattern))
			if err != nil {
				return nil, err
			}
			if len(found) > 0 {
				*into = found[0]
			}
		}
	}
	if k.Image == "" || k.Modules == "" || k.BuiltIn == "" {
		return nil, fmt.Errorf("%s: found image %q, modules %q, modules.builtin %q in %q", p, k.Image, k.Modules, k.BuiltIn, dirs)
	}
	k.Modules = filepath.Dir(k.Modules)
	k.Release = filepath.Base(k.Modules)
	_, err := os.Stat(k.Image)
	return k, err
}
