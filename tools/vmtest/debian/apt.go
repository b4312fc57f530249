// Package debian fetches Debian packages without installing them: kernels, and
// the user space of a guest. Every suite has an apt of its own, with its own
// sources, lists and cache, so that nothing of the machine's own apt, dpkg or
// /boot is touched. apt verifies what it fetches. The package knows nothing of
// guests or tests.
package debian

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// listsAge is how old package lists may get: versions rotate in Debian's
// archive, and a superseded one goes.
const listsAge = 12 * time.Hour

// APT is a private apt for one suite.
type APT struct {
	dir  string
	read bool // the lists were read by this process
}

// Open makes or finds the apt of a suite, such as "bookworm-security", under
// cache, and has it read the suite's lists where they are missing or old.
func Open(ctx context.Context, cache, suite string) (*APT, error) {
	dir, err := filepath.Abs(filepath.Join(cache, "apt", suite))
	if err != nil {
		return nil, err
	}
	a := &APT{dir: dir}
	for _, sub := range []string{"lists/partial", "archives/partial", "unpacked"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	// No package is installed in this apt's eyes.
	if err := os.WriteFile(filepath.Join(dir, "status"), nil, 0o644); err != nil {
		return nil, err
	}
	var sources strings.Builder
	for _, s := range suites(suite) {
		fmt.Fprintf(&sources, "deb [signed-by=%s arch=amd64] %s %s main\n", keyring, mirror(ctx, s), s)
	}
	if err := os.WriteFile(filepath.Join(dir, "sources.list"), []byte(sources.String()), 0o644); err != nil {
		return nil, err
	}
	if info, err := os.Stat(a.stamp()); err == nil && time.Since(info.ModTime()) < listsAge {
		return a, nil
	}
	return a, a.update(ctx)
}

func (a *APT) stamp() string { return filepath.Join(a.dir, "updated") }

func (a *APT) update(ctx context.Context) error {
	if _, err := a.run(ctx, "apt-get", "-q", "update"); err != nil {
		return fmt.Errorf("read the package lists of %s: %w", filepath.Base(a.dir), err)
	}
	a.read = true
	return os.WriteFile(a.stamp(), nil, 0o644)
}

// upToDate calls f, and where it fails once more with lists that have just been
// read: what they name may have been superseded, and gone from the archive.
func upToDate[T any](ctx context.Context, a *APT, f func() (T, error)) (T, error) {
	result, err := f()
	if err == nil || a.read || ctx.Err() != nil {
		return result, err
	}
	if again := a.update(ctx); again != nil {
		return result, errors.Join(err, again)
	}
	return f()
}

// suites gives a suite and what it is read with: security updates alone do not
// hold what they depend on.
func suites(suite string) []string {
	if base, ok := strings.CutSuffix(suite, "-security"); ok && base != "bullseye" {
		return []string{base, suite}
	}
	return []string{suite}
}

// mirror gives the archive that this machine's own configuration names.
func mirror(ctx context.Context, suite string) string {
	path := "debian"
	if strings.HasSuffix(suite, "-security") {
		path = "debian-security"
	}
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets",
		"--format", "$(REPO_URI)", "Created-By: Packages").Output()
	if err == nil {
		for uri := range strings.FieldsSeq(string(out)) {
			if strings.HasSuffix(strings.TrimSuffix(uri, "/"), "/"+path) {
				return uri
			}
		}
	}
	return "http://deb.debian.org/" + path
}

// run runs a program of apt on the private state.
func (a *APT) run(ctx context.Context, program string, args ...string) (string, error) {
	options := []string{
		"-o", "Dir::Etc::sourcelist=" + filepath.Join(a.dir, "sources.list"),
		"-o", "Dir::Etc::sourceparts=/dev/null",
		"-o", "Dir::Etc::preferencesparts=/dev/null",
		"-o", "Dir::State=" + a.dir,
		"-o", "Dir::State::lists=" + filepath.Join(a.dir, "lists"),
		"-o", "Dir::State::status=" + filepath.Join(a.dir, "status"),
		"-o", "Dir::Cache=" + a.dir,
		"-o", "Dir::Cache::archives=" + filepath.Join(a.dir, "archives"),
		"-o", "APT::Architecture=amd64",
		"-o", "APT::Architectures=amd64",
		"-o", "APT::Sandbox::User=root",
		"-o", "APT::Keep-Downloaded-Packages=true",
	}
	cmd := exec.CommandContext(ctx, program, append(options, args...)...)
	cmd.Dir = filepath.Join(a.dir, "archives")
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", program, strings.Join(args, " "), err, problems.String())
	}
	return string(out), nil
}

// Package is one version of a package.
type Package struct {
	Name, Version string
}

func (p Package) String() string { return p.Name + " " + p.Version }

var candidate = regexp.MustCompile(`(?m)^Candidate: (\S+)$`)

// Candidate gives the version that the suite has now.
func (a *APT) Candidate(ctx context.Context, name string) (Package, error) {
	out, err := a.run(ctx, "apt-cache", "policy", name)
	if err != nil {
		return Package{}, err
	}
	m := candidate.FindStringSubmatch(strings.ReplaceAll(out, "  ", ""))
	if m == nil || m[1] == "(none)" {
		return Package{}, fmt.Errorf("%s has no package %s", filepath.Base(a.dir), name)
	}
	return Package{name, m[1]}, nil
}

// depends gives the names that a package depends on.
func (a *APT) depends(ctx context.Context, p Package) ([]string, error) {
	out, err := a.run(ctx, "apt-cache", "show", p.Name+"="+p.Version)
	if err != nil {
		return nil, err
	}
	var names []string
	for line := range strings.Lines(out) {
		list, ok := strings.CutPrefix(line, "Depends: ")
		if !ok {
			continue
		}
		for each := range strings.SplitSeq(list, ",") {
			names = append(names, strings.Fields(each)[0])
		}
	}
	return names, nil
}

// unpack fetches packages, unless they are there, and unpacks each into a
// directory of its own; it gives the directories.
func (a *APT) unpack(ctx context.Context, packages []Package) ([]string, error) {
	var dirs, missing []string
	for _, p := range packages {
		dir := filepath.Join(a.dir, "unpacked", p.file())
		dirs = append(dirs, dir)
		if _, err := os.Stat(dir); err != nil {
			missing = append(missing, p.Name+"="+p.Version)
		}
	}
	if len(missing) == 0 {
		return dirs, nil
	}
	if _, err := a.run(ctx, "apt-get", append([]string{"-q", "download"}, missing...)...); err != nil {
		return nil, fmt.Errorf("fetch from %s what its lists name: %w", filepath.Base(a.dir), err)
	}
	for i, p := range packages {
		if _, err := os.Stat(dirs[i]); err == nil {
			continue
		}
		if err := a.unpackOne(ctx, p, dirs[i]); err != nil {
			return nil, fmt.Errorf("unpack %s: %w", p, err)
		}
	}
	return dirs, nil
}

// file is the beginning of the names of a package's files.
func (p Package) file() string { return p.Name + "_" + strings.ReplaceAll(p.Version, ":", "%3a") }

func (a *APT) unpackOne(ctx context.Context, p Package, dir string) error {
	found, err := filepath.Glob(filepath.Join(a.dir, "archives", p.file()+"_*.deb"))
	if err != nil || len(found) != 1 {
		return errors.Join(fmt.Errorf("downloaded files: %q", found), err)
	}
	partial := dir + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", found[0], partial).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	if err := os.Remove(found[0]); err != nil {
		return err
	}
	return os.Rename(partial, dir)
}
