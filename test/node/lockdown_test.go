package node

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
)

// TestLockdownTry opens a port for a while: it closes by itself, with the
// daemon dead too, unless it was confirmed.
func TestLockdownTry(t *testing.T) {
	n := start(t, lab.Config{})
	n.serve(n.Node, everywhere(22))
	ssh := netip.AddrPortFrom(lab.NodeIPv4, 22)
	good, err := os.ReadFile(n.daemon.Config())
	if err != nil {
		t.Fatal(err)
	}
	tried := filepath.Join(t.TempDir(), "node.yaml")
	open := fmt.Sprintf("%slockdown: {allow: [{from: %s/32, ports: [tcp/22]}]}\n", good, lab.OutsideIPv4)
	if err := os.WriteFile(tried, []byte(open), 0o600); err != nil {
		t.Fatal(err)
	}
	try := func(period string) {
		t.Helper()
		if _, err := n.daemon.CLI(t.Context(), "lockdown", "try", "--for", period, "-f", tried); err != nil {
			t.Fatal(err)
		}
	}
	closes := func() {
		t.Helper()
		n.eventually(6*time.Second, func() error {
			got, err := probe.Connect(t.Context(), n.Outside, ssh, 300*time.Millisecond)
			if err == nil && got != probe.Silent {
				err = fmt.Errorf("still %s", got)
			}
			return err
		})
	}
	n.connects(n.Outside, ssh, probe.Silent)

	repaired := n.repairs()
	try("3s")
	n.connects(n.Outside, ssh, probe.Answered)
	closes()
	n.eventually(repairWithin, func() error { return n.inForce("document") })
	if now := n.repairs(); now != repaired {
		t.Errorf("a trial that ended is counted as %v repairs", now-repaired)
	}

	try("3s")
	n.connects(n.Outside, ssh, probe.Answered)
	if err := n.daemon.Kill(); err != nil {
		t.Fatal(err)
	}
	n.connects(n.Outside, ssh, probe.Answered)
	closes()
	if err := n.daemon.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.connects(n.Outside, ssh, probe.Silent)

	try("3s")
	if _, err := n.daemon.CLI(t.Context(), "lockdown", "confirm"); err != nil {
		t.Fatal(err)
	}
	confirmed := time.Now()
	n.eventually(8*time.Second, func() error {
		n.connects(n.Outside, ssh, probe.Answered)
		if time.Since(confirmed) < 4*time.Second {
			return fmt.Errorf("the deadline has not passed")
		}
		return nil
	})
	if err := n.daemon.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.connects(n.Outside, ssh, probe.Answered)
}

// inForce is an error unless the lockdown in force comes from there.
func (n *node) inForce(want string) error {
	var status struct{ Lockdown string }
	if err := n.daemon.Decode(n.t.Context(), &status, "status", "-o", "json"); err != nil {
		return err
	}
	if status.Lockdown != want {
		return fmt.Errorf("the lockdown in force is that of the %s, want %s", status.Lockdown, want)
	}
	return nil
}
