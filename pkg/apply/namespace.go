package apply

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/plan"
)

// namespaceDir is where iproute2 looks for named network namespaces.
const namespaceDir = "/run/netns"

// pauseAlias is what lo in a pause namespace is called. It names the namespace that
// the daemon is in as well: several daemons may share namespaceDir, each in a
// network namespace of its own.
func (p *pass) pauseAlias(network, workload string) string {
	return fmt.Sprintf("%s of net:%d", workloadAlias(network, workload), p.home)
}

// homeNamespace gives the inode of the calling thread's network namespace.
func homeNamespace() (uint64, error) {
	var stat unix.Stat_t
	if err := unix.Stat(threadNamespace, &stat); err != nil {
		return 0, fmt.Errorf("look up the daemon's network namespace: %w", err)
	}
	return stat.Ino, nil
}

// openNamespace opens a network namespace by its path. A path that is not there or
// holds none gives os.ErrNotExist.
func openNamespace(path string) (*os.File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	var stat unix.Statfs_t
	if err := unix.Fstatfs(int(file.Fd()), &stat); err != nil || stat.Type != unix.NSFS_MAGIC {
		_ = file.Close()
		return nil, fmt.Errorf("open network namespace %s: a file without one: %w", path, os.ErrNotExist)
	}
	return file, nil
}

// makeNamespaceDir makes the directory of names a shared mount while it is empty.
// The first `ip netns add` of a machine mounts it over itself, and a name that was
// bound before cannot be removed any more: its file is busy below.
func makeNamespaceDir() error {
	if err := os.MkdirAll(namespaceDir, 0o755); err != nil {
		return err
	}
	share := func() error { return unix.Mount("", namespaceDir, "", unix.MS_SHARED|unix.MS_REC, "") }
	if err := share(); !errors.Is(err, unix.EINVAL) { // which says that it is no mount
		return err
	}
	if names, err := os.ReadDir(namespaceDir); err != nil || len(names) > 0 {
		return err
	}
	if err := unix.Mount(namespaceDir, namespaceDir, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount %s over itself: %w", namespaceDir, err)
	}
	return share()
}

// makeNamespace makes a network namespace that lasts without any process: bound to
// its path, lo up and carrying the alias. Where an earlier try left only the file,
// that is used.
func makeNamespace(path, alias string) error {
	if err := makeNamespaceDir(); err != nil {
		return fmt.Errorf("make network namespace: %w", err)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o444)
	if err != nil {
		return fmt.Errorf("make network namespace: %w", err)
	}
	_ = file.Close()
	return onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make network namespace %s: unshare: %w", path, err)
		}
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return fmt.Errorf("open netlink in %s: %w", path, err)
		}
		defer h.Close()
		lo, err := h.LinkByName(loopbackName)
		if err != nil {
			return fmt.Errorf("look up lo in %s: %w", path, err)
		}
		if err := errors.Join(h.LinkSetAlias(lo, alias), h.LinkSetUp(lo)); err != nil {
			return fmt.Errorf("set up lo in %s: %w", path, err)
		}
		if err := unix.Mount(threadNamespace, path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind network namespace to %s: %w", path, err)
		}
		return nil
	})
}

// removeNamespace takes a pause namespace away; processes in it keep it until they
// end, without any link to the outside.
func removeNamespace(path string) error {
	err := unix.Unmount(path, unix.MNT_DETACH)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove network namespace: %w", err)
	}
	return nil
}

// namespaceAlias gives what lo is called in a namespace.
func namespaceAlias(namespace *os.File) (alias string, err error) {
	err = inside(namespace, func(h *netlink.Handle) error {
		lo, err := h.LinkByName(loopbackName)
		if err == nil {
			alias = lo.Attrs().Alias
		}
		return err
	})
	return alias, err
}

// removeNamespaces deletes the pause namespaces of workloads that are no more. They
// are told by the alias, so one whose veth was lost is found as well.
func (p *pass) removeNamespaces() {
	wanted := map[string]bool{}
	for _, w := range p.want.Workloads {
		if w.Kind == plan.WorkloadNetns {
			wanted[w.NetnsPath] = true
		}
	}
	entries, err := os.ReadDir(namespaceDir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		p.fail("namespaces", err)
	}
	for _, e := range entries {
		path := filepath.Join(namespaceDir, e.Name())
		network, workload, dotted := strings.Cut(e.Name(), ".")
		workload, _, _ = strings.Cut(workload, ".") // a resolver's has the node's name, too
		if !dotted || wanted[path] || !p.isPause(path, network, workload) {
			continue
		}
		p.change("namespace "+path, plan.Remove, "", func() error { return removeNamespace(path) })
	}
}

// isPause tells whether a path holds the pause namespace that this daemon made for
// a workload.
func (p *pass) isPause(path, network, workload string) bool {
	file, err := openNamespace(path)
	if err != nil {
		return false
	}
	defer func() { _ = file.Close() }()
	alias, err := namespaceAlias(file)
	return err == nil && alias == p.pauseAlias(network, workload)
}
