//go:build vm

package boot

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zosnet/zosnet/test/testenv"
)

// Where the units have zosnet look and pin, and what the guest's witness.service
// wrote between network-pre.target and the network.
const (
	unitsConfig      = "/etc/zosnet/node.yaml"
	links            = "/sys/fs/bpf/zosnet/links"
	witnessAddresses = "/run/witness.addresses"
	witnessLinks     = "/run/witness.links"
	witnessBackstop  = "/run/witness.backstop"
)

// The units of packaging/systemd under Debian's systemd, from its first to its
// last: a stranger knocks all the time, and hears the failsafe alone.
func TestUnits(t *testing.T) {
	active(t, "zosnet-early.service", "zosnet.service")
	lockedBeforeTheNetwork(t)
	zosnet(t, "status")
	knocks(t, "eth0", 200)
	t.Run("attach", attaches)
	t.Run("restart", func(t *testing.T) {
		keepsLinks(t, func() { sh(t, "systemctl restart zosnet.service") })
	})
	t.Run("reload", func(t *testing.T) {
		keepsLinks(t, func() { sh(t, "systemctl reload zosnet.service") })
	})
	t.Run("kill", killed)
	t.Run("a card that is plugged in", plugged)
	t.Run("stop", func(t *testing.T) {
		keepsLinks(t, func() { sh(t, "systemctl stop zosnet.service zosnet-early.service") })
		knocks(t, "eth0", 100)
		sh(t, "systemctl start zosnet.service")
		zosnet(t, "status")
	})
	t.Run("a wrong node.yaml", wrongDocument)
}

// lockedBeforeTheNetwork: programs and backstop are there when network-pre.target
// is reached, addresses are not.
func lockedBeforeTheNetwork(t *testing.T) {
	t.Helper()
	moments := []struct {
		what string
		at   uint64
	}{
		{"zosnet-early has ended", moment(t, "zosnet-early.service", "ExecMainExitTimestampMonotonic")},
		{"network-pre.target", moment(t, "network-pre.target", "ActiveEnterTimestampMonotonic")},
		{"systemd-networkd starts", moment(t, "systemd-networkd.service", "ExecMainStartTimestampMonotonic")},
		{"zosnet is ready", moment(t, "zosnet.service", "ActiveEnterTimestampMonotonic")},
	}
	for i := range moments[1:] {
		if before, after := moments[i], moments[i+1]; before.at == 0 || before.at > after.at {
			t.Errorf("%s at %d µs, %s at %d µs", before.what, before.at, after.what, after.at)
		}
	}
	if got := read(t, witnessAddresses); strings.Contains(got, "inet") {
		t.Errorf("there was an address before:\n%s", got)
	}
	want := []string{"uplink_egress-eth0", "uplink_ingress-eth0", "uplink_xdp-eth0"}
	if diff := cmp.Diff(want, strings.Fields(read(t, witnessLinks))); diff != "" {
		t.Errorf("links before the network (-want +got):\n%s", diff)
	}
	if got := read(t, witnessBackstop); !strings.Contains(got, "policy drop") {
		t.Errorf("the backstop before the network:\n%s", got)
	}
}

// attaches makes a pause namespace, which is everybody's, and takes a tap.
func attaches(t *testing.T) {
	document := t.TempDir() + "/acme.yaml"
	if err := os.WriteFile(document, []byte(acme), 0o600); err != nil {
		t.Fatal(err)
	}
	zosnet(t, "apply", "-f", document)
	zosnet(t, "attach", "--network", "acme", "--service", "web", "--name", "web-1")
	zosnet(t, "attach", "--network", "acme", "--service", "web", "--name", "vm-1", "--tap", "tap0")
	sh(t, `
nsenter --net=/run/netns/acme.web-1 ping -c 1 -w 10 fe80::1%eth0
ip link show dev tap0
`)
}

// killed: systemd starts a daemon that was killed, and nothing else changes.
func killed(t *testing.T) {
	before := property(t, "zosnet.service", "MainPID")
	keepsLinks(t, func() {
		sh(t, "kill -9 "+before)
		eventually(t, 90*time.Second, "another daemon", func() bool {
			return property(t, "zosnet.service", "MainPID") != before && property(t, "zosnet.service", "ActiveState") == "active"
		})
	})
	if got := property(t, "zosnet.service", "NRestarts"); got != "1" {
		t.Errorf("systemd counts %s restarts, want 1", got)
	}
	sh(t, "nsenter --net=/run/netns/acme.web-1 ping -c 1 -w 10 fe80::1%eth0")
}

// plugged: systemd-networkd gives another card its addresses as fast as it can.
func plugged(t *testing.T) {
	t.Log("vmtest wants: plug")
	eventually(t, 30*time.Second, "another card and its address", func() bool {
		out, err := exec.Command("ip", "-o", "-4", "addr", "show", "dev", "eth1").Output()
		return err == nil && len(out) > 0
	})
	knocks(t, "eth1", 200)
	eventually(t, 30*time.Second, "the programs of eth1", func() bool {
		_, err := os.Stat(filepath.Join(links, "uplink_xdp-eth1"))
		return err == nil
	})
}

// wrongDocument: the daemon ends, systemd does not try again what cannot work, and
// what was enforced stays. The next boot finds that document.
func wrongDocument(t *testing.T) {
	text := read(t, unitsConfig)
	if err := os.WriteFile(unitsConfig, []byte(text+"colour: green\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	keepsLinks(t, func() {
		if out, err := exec.Command("systemctl", "restart", "zosnet.service").CombinedOutput(); err == nil {
			t.Errorf("it started: %s", out)
		}
		failed(t, "zosnet.service")
	})
	knocks(t, "eth0", 100)
	knocks(t, "eth1", 100)
}

// A boot with a node.yaml that cannot be used: both units fail, the machine comes
// up all the same, and the stranger hears nothing at all.
func TestWrongNodeDocument(t *testing.T) {
	failed(t, "zosnet-early.service")
	failed(t, "zosnet.service")
	active(t, "network-pre.target", "systemd-networkd.service")
	for _, name := range []string{"uplink_xdp-eth0", "uplink_ingress-eth0", "uplink_egress-eth0"} {
		if _, err := os.Stat(filepath.Join(links, name)); err != nil {
			t.Error(err)
		}
	}
	if got := read(t, witnessAddresses); strings.Contains(got, "inet") {
		t.Errorf("there was an address before:\n%s", got)
	}
	eventually(t, 30*time.Second, "an address", func() bool {
		out, err := exec.Command("ip", "-o", "-4", "addr", "show", "dev", "eth0").Output()
		return err == nil && len(out) > 0
	})
	knocks(t, "eth0", 200)
	out, err := exec.Command(testenv.Zosnet(t), "status").CombinedOutput()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
		t.Errorf("status with no daemon: %v\n%s", err, out)
	}
}

func property(t *testing.T, unit, name string) string {
	t.Helper()
	return strings.TrimSpace(sh(t, "systemctl show --property="+name+" --value "+unit))
}

func moment(t *testing.T, unit, name string) uint64 {
	t.Helper()
	µs, err := strconv.ParseUint(property(t, unit, name), 10, 64)
	if err != nil {
		t.Fatalf("%s of %s: %v", name, unit, err)
	}
	return µs
}

// active waits for units, and shows what systemd says of one that does not come.
func active(t *testing.T, names ...string) {
	t.Helper()
	for _, unit := range names {
		state := ""
		for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); time.Sleep(time.Second / 5) {
			if state = property(t, unit, "ActiveState"); state != "activating" && state != "inactive" {
				break
			}
		}
		if state != "active" {
			t.Fatalf("%s is %s\n%s", unit, state, journal(unit))
		}
	}
}

// failed waits until systemd has given a unit up for its exit status 2, which says
// that node.yaml is wrong.
func failed(t *testing.T, unit string) {
	t.Helper()
	eventually(t, 60*time.Second, unit+" to fail", func() bool { return property(t, unit, "ActiveState") == "failed" })
	if got := property(t, unit, "ExecMainStatus"); got != "2" {
		t.Errorf("%s ended with status %s, want 2\n%s", unit, got, journal(unit))
	}
}

func journal(unit string) string {
	out, _ := exec.Command("journalctl", "--no-pager", "--lines=40", "--unit="+unit).CombinedOutput()
	return string(out)
}

// keepsLinks holds that every pinned link is the same one after f. What f adds is
// its own affair.
func keepsLinks(t *testing.T, f func()) {
	t.Helper()
	before := linkIDs(t)
	f()
	after := linkIDs(t)
	for name, id := range before {
		if after[name] != id {
			t.Errorf("link %s was %s and is %q", name, id, after[name])
		}
	}
}

func linkIDs(t *testing.T) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(links)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == "uplink_xdp-eth0" }) {
		t.Fatalf("the uplink has no XDP: %v", entries)
	}
	ids := map[string]string{}
	for _, e := range entries {
		id, _, _ := strings.Cut(sh(t, "bpftool link show pinned "+filepath.Join(links, e.Name())), ":")
		ids[e.Name()] = id
	}
	return ids
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
