package registry

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// What a child process of the test binary is to do.
const (
	childVariable    = "ZOSNET_REGISTRY_CHILD"
	childDirVariable = "ZOSNET_REGISTRY_DIR"
	childApplies     = "apply"     // applyUntilKilled
	childTest        = "some test" // one test, in mounts of its own
)

// child prepares a run of this test binary.
func child(t testing.TB, what, dir string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), childVariable+"="+what, childDirVariable+"="+dir)
	return cmd
}

// inOwnMounts runs the calling test again in a process with a mount namespace of
// its own, so that no mount of it can stay behind, and tells whether this is
// that process.
func inOwnMounts(t *testing.T) bool {
	t.Helper()
	if os.Getenv(childVariable) == childTest {
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	cmd := child(t, childTest, t.TempDir(), "-test.v", "-test.run=^"+t.Name()+"$")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("in mounts of its own: %v\n%s", err, out)
	}
	return false
}

// crashPrefixes are large enough for everything that the children apply.
var crashPrefixes = []netip.Prefix{netip.MustParsePrefix("2001:db8::/48")}

// groupOf are the networks that one transaction of applyUntilKilled stores.
func groupOf(n int) []string {
	return []string{fmt.Sprintf("g%d-a", n), fmt.Sprintf("g%d-b", n), fmt.Sprintf("g%d-c", n)}
}

// applyUntilKilled stores groups of networks, three in a transaction, attaches a
// workload to one of each and deletes a network of every second group. It prints
// a line for each answer that it got.
func applyUntilKilled(dir string) int {
	ctx := context.Background()
	s, err := Open(ctx, dir, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	snap, err := s.Snapshot(ctx)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	for n := len(snap.IPAM.Prefixes); ; n++ { // above every group of earlier children
		var docs []NetworkDocument
		for _, name := range groupOf(n) {
			docs = append(docs, NetworkDocument{Name: name, File: "f", Document: []byte(name), Services: []string{"web"}})
		}
		_, err := s.PutNetworks(ctx, "n1", crashPrefixes, docs)
		if err == nil {
			fmt.Println("stored", n)
			_, err = s.PutAttachment(ctx, Attachment{Network: docs[0].Name, Service: "web", Name: "x", Kind: AttachmentNetns})
		}
		if err == nil && n%2 == 0 {
			fmt.Println("deleting", n)
			err = s.DeleteNetwork(ctx, docs[0].Name, true)
		}
		if err == nil && n%2 == 0 {
			fmt.Println("deleted", n)
		}
		if err != nil {
			fmt.Println(err)
			return 1
		}
	}
}
