package testenv

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// binary is a program that is built once a process.
type binary struct {
	name, pkg string
	once      sync.Once
	path      string
	err       error
	out       []byte
}

var (
	zosnet      = binary{name: "zosnet", pkg: "./cmd/zosnet"}
	wireguardGo = binary{name: "wireguard-go", pkg: "golang.zx2c4.com/wireguard"}
)

// Zosnet returns the path of the zosnet binary: $ZOSNET_BIN, or build/zosnet
// built from this tree, once a process and one process at a time.
func Zosnet(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("ZOSNET_BIN"); path != "" {
		return path
	}
	return zosnet.built(t)
}

// WireGuardGo returns the path of wireguard-go, which wg-quick(8) takes on a machine
// whose kernel has no WireGuard. It is built like Zosnet, from the version in go.mod.
func WireGuardGo(t testing.TB) string {
	t.Helper()
	return wireguardGo.built(t)
}

func (b *binary) built(t testing.TB) string {
	t.Helper()
	b.once.Do(b.build)
	if b.err != nil {
		t.Fatalf("build %s: %v\n%s", b.name, b.err, b.out)
	}
	return b.path
}

func (b *binary) build() {
	dir := filepath.Join(Root(), "build")
	if b.err = os.MkdirAll(dir, 0o755); b.err != nil {
		return
	}
	lock, err := os.Open(dir)
	if err != nil {
		b.err = err
		return
	}
	defer func() { _ = lock.Close() }()
	if b.err = unix.Flock(int(lock.Fd()), unix.LOCK_EX); b.err != nil {
		return
	}
	b.path = filepath.Join(dir, b.name)
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", b.path, b.pkg)
	cmd.Dir = Root()
	b.out, b.err = cmd.CombinedOutput()
}

// Root is the directory of go.mod.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}
