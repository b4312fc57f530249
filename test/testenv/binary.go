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

var built struct {
	once sync.Once
	path string
	err  error
	out  []byte
}

// Zosnet returns the path of the zosnet binary: $ZOSNET_BIN, or build/zosnet
// built from this tree, once a process and one process at a time.
func Zosnet(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("ZOSNET_BIN"); path != "" {
		return path
	}
	built.once.Do(build)
	if built.err != nil {
		t.Fatalf("build zosnet: %v\n%s", built.err, built.out)
	}
	return built.path
}

func build() {
	dir := filepath.Join(Root(), "build")
	if built.err = os.MkdirAll(dir, 0o755); built.err != nil {
		return
	}
	lock, err := os.Open(dir)
	if err != nil {
		built.err = err
		return
	}
	defer func() { _ = lock.Close() }()
	if built.err = unix.Flock(int(lock.Fd()), unix.LOCK_EX); built.err != nil {
		return
	}
	built.path = filepath.Join(dir, "zosnet")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", built.path, "./cmd/zosnet")
	cmd.Dir = Root()
	built.out, built.err = cmd.CombinedOutput()
}

// Root is the directory of go.mod.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}
