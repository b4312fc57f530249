package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/zosnet/zosnet/tools/vmtest/guest"
	"github.com/zosnet/zosnet/tools/vmtest/job"
	"github.com/zosnet/zosnet/tools/vmtest/module"
)

// tree is this repository, and where what is made of it goes.
type tree struct {
	root  string
	cache string // survives `make clean`
	build string
}

func (t tree) run(ctx context.Context, dir, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", program, strings.Join(args, " "), err, out)
	}
	return nil
}

// compile makes init, test2json and the tests.
func (t tree) compile(ctx context.Context, groups []group) error {
	const small = "-ldflags=-s -w"
	tests := filepath.Join(t.build, "tests")
	if err := errors.Join(os.RemoveAll(tests), os.MkdirAll(tests, 0o755)); err != nil {
		return err
	}
	if err := t.run(ctx, filepath.Join(t.root, "tools/vmtest"), "go", "build", small, "-o", filepath.Join(t.build, "init"), "./init"); err != nil {
		return err
	}
	if err := t.run(ctx, t.root, "go", "build", small, "-o", filepath.Join(tests, "test2json"), "cmd/test2json"); err != nil {
		return err
	}
	var compilers errgroup.Group
	compilers.SetLimit(runtime.NumCPU())
	made := map[string]bool{}
	for _, g := range groups {
		if made[g.pkg] {
			continue
		}
		made[g.pkg] = true
		compilers.Go(func() error {
			return t.run(ctx, t.root, "go", "test", "-c", "-vet=off", "-tags=vm,compilers", small,
				"-o", filepath.Join(tests, binary(g.pkg)), "./"+g.pkg)
		})
	}
	return compilers.Wait()
}

func binary(pkg string) string { return strings.ReplaceAll(pkg, "/", "_") }

// Accounts and groups are those that packages' scripts would have made.
const (
	passwdFile = `root:x:0:0:root:/root:/bin/bash
tcpdump:x:100:65534:tcpdump:/:/usr/sbin/nologin
messagebus:x:101:101:messagebus:/:/usr/sbin/nologin
systemd-network:x:998:998:systemd-network:/:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/:/usr/sbin/nologin
`
	groupFile = `root:x:0:
tty:x:5:
disk:x:6:
messagebus:x:101:
systemd-network:x:998:
systemd-journal:x:999:
nogroup:x:65534:
`
)

// sources is what tests read of the tree besides their own package's directory.
var sources = []string{"bpf", "packaging", "docs"}

// assemble makes the tests' part of the initramfs.
func (t tree) assemble(path string, j job.Job, modules []*module.Module) error {
	return writeArchive(path, func(a *guest.Archive) error {
		text, err := json.Marshal(j)
		if err != nil {
			return err
		}
		for at, source := range map[string]string{
			"/init": filepath.Join(t.build, "init"), "/sbin/modprobe": filepath.Join(t.build, "init"),
			"/usr/bin/zosnet":          filepath.Join(t.root, "build/zosnet"),
			job.TestDir + "/test2json": filepath.Join(t.build, "tests/test2json"),
		} {
			if err := a.AddFile(at, source); err != nil {
				return err
			}
		}
		// Where the tree was when the tests were compiled, they look for it.
		if err := a.AddLink(t.root, job.SourceDir); err != nil {
			return err
		}
		for _, dir := range sources {
			if err := a.AddTree(filepath.Join(job.SourceDir, dir), filepath.Join(t.root, dir), isObject); err != nil {
				return err
			}
		}
		if j.Systemd {
			if err := a.AddTree("", filepath.Join(t.build, "systemd"), nil); err != nil {
				return err
			}
		}
		if objects := filepath.Join(t.build, "objects"); needsObjects(j) {
			if err := a.AddTree(job.SourceDir+"/objects", objects, nil); err != nil {
				return err
			}
		}
		for at, content := range map[string]string{
			job.File: string(text), "/etc/passwd": passwdFile, "/etc/group": groupFile,
			"/etc/hosts":       "127.0.0.1 localhost guest\n::1 localhost guest\n",
			"/etc/resolv.conf": "", // over which namespaces lay their own
		} {
			if err := a.Add(at, 0o644, []byte(content)); err != nil {
				return err
			}
		}
		for _, m := range modules {
			if err := a.Add(filepath.Join(job.ModuleDir, m.Name+".ko"), 0o644, m.Object); err != nil {
				return err
			}
		}
		for _, test := range j.Tests {
			if err := a.AddFile(filepath.Join(job.TestDir, binary(test.Package)), filepath.Join(t.build, "tests", binary(test.Package))); err != nil {
				return err
			}
			if err := a.AddTree(filepath.Join(job.SourceDir, test.Package), filepath.Join(t.root, test.Package), isObject); err != nil {
				return err
			}
		}
		return nil
	})
}

func needsObjects(j job.Job) bool {
	return slices.ContainsFunc(j.Tests, func(t job.Test) bool { return slices.Equal(t.Args, []string{"-test.run=TestCompilers"}) })
}

// isObject leaves out compiled programs, which the tests have in them.
func isObject(path string) bool { return filepath.Ext(path) == ".o" }

// writeArchive writes to another file first, so that path is there only whole.
func writeArchive(path string, fill func(*guest.Archive) error) (err error) {
	file, err := os.Create(path + ".partial")
	if err != nil {
		return err
	}
	archive := guest.NewArchive(file)
	err = fill(archive)
	if err = errors.Join(err, archive.Close(), file.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(path+".partial", path)
}

// join writes files one after the other.
func join(path string, parts ...string) error {
	to, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { _ = to.Close() }()
	for _, part := range parts {
		from, err := os.Open(part)
		if err != nil {
			return err
		}
		_, err = io.Copy(to, from)
		_ = from.Close()
		if err != nil {
			return err
		}
	}
	return to.Close()
}
