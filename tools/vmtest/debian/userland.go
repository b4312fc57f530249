package debian

import (
	"context"
	"path/filepath"
	"regexp"
	"strings"
)

// simulated is a line of `apt-get --simulate install`.
var simulated = regexp.MustCompile(`(?m)^Inst (\S+) \((\S+) `)

// FetchUserland fetches packages and all that they depend on, and gives the
// directories that they are unpacked in. No maintainer script runs.
func (a *APT) FetchUserland(ctx context.Context, names ...string) ([]string, error) {
	return upToDate(ctx, a, func() ([]string, error) { return a.fetchUserland(ctx, names) })
}

func (a *APT) fetchUserland(ctx context.Context, names []string) ([]string, error) {
	out, err := a.run(ctx, "apt-get", append([]string{
		"--simulate", "--no-install-recommends", "-y", "install",
	}, names...)...)
	if err != nil {
		return nil, err
	}
	var all []Package
	for _, m := range simulated.FindAllStringSubmatch(out, -1) {
		all = append(all, Package{strings.TrimSuffix(m[1], ":amd64"), m[2]})
	}
	return a.unpack(ctx, all)
}

// Unread reports whether a file of a package is there for people only.
func Unread(path string) bool {
	return under(path, "usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/lintian",
		"usr/share/bash-completion", "usr/share/zsh", "usr/share/zoneinfo", "usr/share/perl", "usr/lib/x86_64-linux-gnu/perl",
		"usr/share/i18n", "usr/lib/x86_64-linux-gnu/gconv", "usr/share/perl5", "usr/share/bug", "usr/share/nmap/scripts",
		"usr/share/common-licenses", "usr/share/doc-base", "usr/share/icons", "usr/share/pixmaps", "boot") ||
		filepath.Base(path) == "ChangeLog"
}

// Unneeded reports whether a file of a package is of no use in a guest without
// systemd.
func Unneeded(path string) bool {
	return Unread(path) || under(path, "usr/lib/systemd", "lib/systemd", "usr/lib/udev", "lib/udev")
}

func under(path string, dirs ...string) bool {
	for _, dir := range dirs {
		if path == dir || strings.HasPrefix(path, dir+"/") {
			return true
		}
	}
	return false
}
