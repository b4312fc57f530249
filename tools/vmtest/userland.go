package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/zosnet/zosnet/tools/vmtest/debian"
	"github.com/zosnet/zosnet/tools/vmtest/guest"
)

// userlandSuite is the Debian that user space in the guests is of.
const userlandSuite = "bookworm-security"

// What tests call of Debian's programs, and what a guest has besides where
// systemd is its process 1.
var (
	userlandPackages = []string{
		"bash", "bpftool", "coreutils", "curl", "dash", "dnsmasq-base", "ethtool", "grep", "iperf3", "iproute2",
		"iputils-ping", "isc-dhcp-client", "libc-bin", "mount", "nftables", "nmap", "procps", "sed", "tcpdump", "util-linux", "wireguard-tools",
	}
	systemdPackages = []string{"dbus", "kmod", "systemd", "systemd-sysv", "udev"}
)

// Names of the parts of an initramfs that come from Debian's packages.
const (
	userland = "userland"
	systemd  = "systemd"
)

// archive is where a part of the initramfs lies.
func (t tree) archive(name string) string { return filepath.Join(t.cache, name+".cpio") }

// userlands makes the parts of the initramfs that come from Debian's packages.
func (t tree) userlands(ctx context.Context, groups []group) error {
	apt, err := debian.Open(ctx, t.cache, userlandSuite)
	if err != nil {
		return err
	}
	dirs, err := apt.FetchUserland(ctx, userlandPackages...)
	if err != nil {
		return fmt.Errorf("fetch the guests' user space: %w", err)
	}
	if err := t.pack(userland, dirs, debian.Unneeded, alternatives); err != nil {
		return err
	}
	if !slices.ContainsFunc(groups, func(g group) bool { return g.boot != nil && g.boot.systemd }) {
		return nil
	}
	all, err := apt.FetchUserland(ctx, systemdPackages...)
	if err != nil {
		return fmt.Errorf("fetch systemd: %w", err)
	}
	if err := t.pack(systemd, all, debian.Unread, nil); err != nil {
		return err
	}
	return t.installUnits(ctx)
}

// alternatives are links that packages' scripts would have made.
var alternatives = map[string]string{
	"/usr/lib/x86_64-linux-gnu/libblas.so.3": "blas/libblas.so.3", // nmap's
	"/usr/bin/awk":                           "mawk",
}

// pack makes a part of the initramfs from unpacked packages. It is made again
// when the packages change.
func (t tree) pack(name string, dirs []string, leaveOut func(string) bool, links map[string]string) error {
	record := filepath.Join(t.cache, name+".list")
	list := fmt.Appendf(nil, "%q %q", dirs, links)
	if before, err := os.ReadFile(record); err == nil && bytes.Equal(before, list) {
		return nil
	}
	err := writeArchive(t.archive(name), func(a *guest.Archive) error {
		if err := a.AddLinksIntoUsr(); err != nil {
			return err
		}
		for _, dir := range dirs {
			if err := a.AddTree("", dir, leaveOut); err != nil {
				return err
			}
		}
		for path, target := range links {
			if err := a.AddLink(path, target); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return os.WriteFile(record, list, 0o644)
}

// systemdDir holds what is laid over the packages of a guest under systemd, and
// over its disk.
const systemdDir = "tools/vmtest/systemd"

// installUnits lays out zosnet's units as its package does, and the guest's own,
// and enables them.
func (t tree) installUnits(ctx context.Context) error {
	root := filepath.Join(t.build, "systemd")
	units := filepath.Join(root, "usr/lib/systemd/system")
	if err := errors.Join(os.RemoveAll(root), os.MkdirAll(filepath.Dir(units), 0o755)); err != nil {
		return err
	}
	if err := os.CopyFS(root, os.DirFS(filepath.Join(t.root, systemdDir, "root"))); err != nil {
		return err
	}
	found, err := filepath.Glob(filepath.Join(t.root, "packaging/systemd/*.service"))
	if err != nil {
		return err
	}
	own, err := filepath.Glob(filepath.Join(units, "*"))
	if err != nil {
		return err
	}
	for _, path := range found {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(units, filepath.Base(path)), text, 0o644); err != nil {
			return err
		}
	}
	enable := []string{"--root=" + root, "--quiet", "enable"}
	for _, path := range append(own, found...) {
		enable = append(enable, filepath.Base(path))
	}
	return t.run(ctx, t.root, "systemctl", enable...)
}
