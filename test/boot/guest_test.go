//go:build vm

package boot

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/test/testenv"
)

// TestMain keeps the tests off a machine that somebody needs.
func TestMain(m *testing.M) {
	if os.Getenv("ZOSNET_VM") != "1" {
		fmt.Fprintln(os.Stderr, "test/boot: these tests change the machine itself; run them in a guest: make vmtest RUN=test/boot")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func kernelHas(t *testing.T, major, minor int) bool {
	t.Helper()
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	var gotMajor, gotMinor int
	release := unix.ByteSliceToString(name.Release[:])
	if _, err := fmt.Sscanf(release, "%d.%d", &gotMajor, &gotMinor); err != nil {
		t.Fatalf("kernel release %q: %v", release, err)
	}
	return gotMajor > major || gotMajor == major && gotMinor >= minor
}

// write writes a node.yaml whose daemon keeps its state in dir.
func write(t *testing.T, dir, rest string) string {
	t.Helper()
	path := filepath.Join(dir, "node.yaml")
	text := fmt.Sprintf("node: n1\nprefixes: [2001:db8:aaaa::/48]\nstateDir: %s\n%s", filepath.Join(dir, "state"), rest)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// sh runs commands, one a line, and gives what they print.
func sh(t *testing.T, commands string) string {
	t.Helper()
	var out strings.Builder
	for line := range strings.Lines(commands) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		text, err := exec.Command(words[0], words[1:]...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", strings.TrimSpace(line), err, text)
		}
		out.Write(text)
	}
	return out.String()
}

// zosnet runs a command of it.
func zosnet(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(testenv.Zosnet(t), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("zosnet %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// daemon runs the daemon until the test ends.
func daemon(t *testing.T, config string) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, testenv.Zosnet(t), "daemon", "--config", config)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr // the console
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		_ = cmd.Wait()
	})
	eventually(t, 90*time.Second, "the daemon to be ready", func() bool {
		return exec.Command(testenv.Zosnet(t), "status").Run() == nil
	})
}

func eventually(t *testing.T, bound time.Duration, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(bound); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if done() {
			return
		}
	}
	t.Fatalf("waited %v for %s", bound, what)
}

// knocks waits until that many more frames have come in: the stranger knocks all
// the time.
func knocks(t *testing.T, ifname string, many int) {
	t.Helper()
	count := func() int {
		text, err := os.ReadFile("/sys/class/net/" + ifname + "/statistics/rx_packets")
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	first := count()
	eventually(t, 90*time.Second, fmt.Sprintf("%d knocks on %s", many, ifname), func() bool { return count() >= first+many })
}
