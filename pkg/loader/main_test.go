package loader

import (
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/test/testenv"
)

// enter puts the test, and its OS thread, into a network namespace of its own,
// which goes with it.
func enter(t *testing.T) {
	t.Helper()
	testenv.RequireBPF(t)
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	must(t, err)
	must(t, unix.Unshare(unix.CLONE_NEWNET))
	t.Cleanup(func() {
		must(t, unix.Setns(int(home.Fd()), unix.CLONE_NEWNET))
		must(t, home.Close())
		runtime.UnlockOSThread()
	})
	lo, err := netlink.LinkByName("lo")
	must(t, err)
	must(t, netlink.LinkSetUp(lo))
}

// bpffs mounts a bpffs of the test's own.
func bpffs(t *testing.T) string {
	t.Helper()
	testenv.RequireBPF(t)
	dir := t.TempDir()
	must(t, unix.Mount("bpf", dir, "bpf", 0, ""))
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return filepath.Join(dir, "zosnet")
}

// veth makes a pair that is up.
func veth(t *testing.T, name, peer string) netlink.Link {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: peer}))
	for _, each := range []string{peer, name} {
		l, err := netlink.LinkByName(each)
		must(t, err)
		must(t, netlink.LinkSetUp(l))
	}
	l, err := netlink.LinkByName(name)
	must(t, err)
	return l
}

// journal keeps what was logged.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func (j *journal) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
