package apply

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/loader"
)

// Early in a boot an uplink speaks for its own addresses only, also where node.yaml
// could not be read; another run gives nothing back, and what was before is known to
// whoever takes zosnet away.
func TestEarlyARP(t *testing.T) {
	if elsewhere(t) {
		return
	}
	dir := t.TempDir()
	n := &node{t: t, dir: dir}
	defer func() { check(t, unix.Unmount(n.bpffs(), unix.MNT_DETACH)) }()
	check(t, writeSysctl("net/ipv4/conf/up0/arp_announce", "1"))
	before := arp(t)
	runDir := filepath.Join(dir, "run")
	early := func(uplinks ...string) {
		t.Helper()
		check(t, Early(loader.EarlyOptions{Options: loader.Options{BPFFS: n.bpffs(), Log: discard}, Uplinks: uplinks}, runDir))
	}
	early("up0", "later0")
	early("up0")
	early() // up0 is no physical link
	if got, want := arp(t), [2]string{"1", "2"}; got != want {
		t.Fatalf("arp_ignore and arp_announce of up0 are %v, want %v", got, want)
	}
	_, err := Remove(Removal{BPFFS: n.bpffs(), RunDir: runDir, Networks: true, Log: discard})
	check(t, err)
	if diff := cmp.Diff(before, arp(t)); diff != "" {
		t.Errorf("before and after (-before +after):\n%s", diff)
	}
}

// arp gives arp_ignore and arp_announce of up0.
func arp(t *testing.T) (values [2]string) {
	t.Helper()
	for i, s := range arpSysctls {
		value, err := readSysctl(ipv4Sysctls + "up0/" + s.key)
		check(t, err)
		values[i] = value
	}
	return values
}
