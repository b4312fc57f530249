package resolver

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/test/testenv"
)

// A test that needs port 53 runs in a process of its own, in a network namespace of
// its own; the resolver runs in one more process, for it gives up root.
const (
	isolatedEnv = "ZOSNET_RESOLVER_TEST"
	serveEnv    = "ZOSNET_RESOLVER_SERVE" // "DIR ADDRESS:PORT"
)

func TestMain(m *testing.M) {
	if what := os.Getenv(serveEnv); what != "" {
		os.Exit(serveUntilEnded(what))
	}
	os.Exit(m.Run())
}

func serveUntilEnded(what string) int {
	dir, listen, _ := strings.Cut(what, " ")
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	err := Run(ctx, Config{
		Dir: dir, Listen: netip.MustParseAddrPort(listen), Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Ready: func() { fmt.Println("ready") },
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// elsewhere runs the test in a network namespace of its own and tells the caller to
// return, or tells that this is it.
func elsewhere(t *testing.T) bool {
	t.Helper()
	testenv.RequireRoot(t)
	if os.Getenv(isolatedEnv) == t.Name() {
		if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return false
	}
	t.Parallel()
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=120s")
	cmd.Env = append(os.Environ(), isolatedEnv+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("%v\n%s", err, out)
	}
	return true
}

// address gives the namespace another address.
func address(t *testing.T, a netip.Addr) {
	t.Helper()
	if out, err := exec.Command("ip", "-6", "address", "add", a.String()+"/128", "dev", "lo", "nodad").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	testenv.WaitForAddress(t, a)
}

// running is a resolver in a process of its own, and what it reads.
type running struct {
	dir     string
	address string
	process *os.Process
	log     string // path
}

// start starts a resolver of acme at [::1]:53, which forwards to the servers.
func start(t *testing.T, servers ...netip.Addr) *running {
	t.Helper()
	dir, err := os.MkdirTemp("", "zosnet-dns-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // for who is not root
		t.Fatal(err)
	}
	r := &running{dir: dir, address: "[::1]:53"}
	r.replace(t, zoneFile, acme().Zone())
	if len(servers) > 0 {
		r.replace(t, forwardFile, Forward(servers))
	}
	r.log = filepath.Join(t.TempDir(), "log")
	log, err := os.Create(r.log)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serveEnv+"="+r.dir+" "+r.address)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.process = cmd.Process
	t.Cleanup(func() {
		_ = cmd.Process.Signal(unix.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the resolver: %v\n%s", err, r.logged())
		}
		if testing.Verbose() {
			t.Logf("the resolver:\n%s", r.logged())
		}
	})
	eventually(t, "the resolver is ready", func() bool { return strings.Contains(r.logged(), "ready\n") })
	return r
}

func (r *running) logged() string {
	text, _ := os.ReadFile(r.log)
	return string(text)
}

// replace writes a file as whoever replaces one does: beside it, then renamed.
func (r *running) replace(t *testing.T, file string, text []byte) {
	t.Helper()
	beside := filepath.Join(r.dir, "."+file)
	if err := os.WriteFile(beside, text, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(beside, filepath.Join(r.dir, file)); err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for until := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}
