//go:build vm

package boot

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/zosnet/zosnet/test/testenv"
)

// The first kernel that is supported.
const firstMajor, firstMinor = 6, 1

// zosnet doctor takes a supported kernel and says of an older one, in words that
// help, why it cannot be used.
func TestDoctor(t *testing.T) {
	out, err := exec.Command(testenv.Zosnet(t), "doctor").CombinedOutput()
	t.Logf("%s", out)
	var exit *exec.ExitError
	if kernelHas(t, firstMajor, firstMinor) {
		if err != nil {
			t.Errorf("a supported kernel was refused: %v", err)
		}
		return
	}
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Fatalf("exit status %v, want 1", err)
	}
	for _, want := range []string{"missing", "use Linux 6.1 or later", "This machine cannot run zosnet"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the output lacks %q", want)
		}
	}
}

// On a kernel that is too old the daemon says what is missing, too, and enforces
// nothing by halves.
func TestDaemonRefuses(t *testing.T) {
	if kernelHas(t, firstMajor, firstMinor) {
		return // here it runs: every other test says so
	}
	dir := t.TempDir()
	config := write(t, dir, "bpffs: /sys/fs/bpf/refused\n")
	out, err := exec.Command(testenv.Zosnet(t), "daemon", "--config", config).CombinedOutput()
	t.Logf("%s", out)
	if err == nil || !strings.Contains(string(out), "use Linux 6.1 or later") {
		t.Errorf("the daemon ended with %v and did not say what to do", err)
	}
	if entries, err := os.ReadDir("/sys/fs/bpf/refused/links"); err == nil && len(entries) > 0 {
		t.Errorf("it left %d links attached", len(entries))
	}
}
