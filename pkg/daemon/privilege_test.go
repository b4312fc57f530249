package daemon_test

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/zosnet/zosnet/test/probe"
	"github.com/zosnet/zosnet/test/testenv"
)

// The capabilities that the unit leaves to the daemon are enough for all it does.
func TestUnitCapabilities(t *testing.T) {
	setpriv := testenv.RequireTool(t, "setpriv")
	unit, err := os.ReadFile(filepath.Join(testenv.Root(), "packaging/systemd/zosnet.service"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^CapabilityBoundingSet=(.*)$`).FindSubmatch(unit)
	if m == nil {
		t.Fatal("the unit bounds no capabilities")
	}
	bound := "-all"
	for _, name := range strings.Fields(string(m[1])) {
		bound += ",+" + strings.ToLower(strings.TrimPrefix(name, "CAP_"))
	}
	n := start(t, "")
	if err := n.daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	// As at a boot: it makes every program, map and link itself.
	if err := os.RemoveAll(n.daemon.BPFFS() + "/links"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	daemon := n.Node.Command(ctx, setpriv, "--bounding-set="+bound, "--inh-caps=-all", "--no-new-privs",
		testenv.Zosnet(t), "daemon", "--config", n.daemon.Config())
	var log strings.Builder
	daemon.Stderr = &log
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		_ = daemon.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	}()
	n.eventually(20*time.Second, func() error {
		_, err := n.daemon.Status(t.Context())
		return err
	})
	if err := n.daemon.Apply(t.Context(), green); err != nil {
		t.Fatal(err)
	}
	web, db := n.attach("web", "web-1"), n.attach("db", "db-1")
	n.cli("attach", "--network", "green", "--service", "web", "--name", "vm-1", "--tap", "tap-vm-1")
	server, err := probe.ServeHTTP(db.Machine, netip.AddrPortFrom(db.Address, 5432), "db")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	n.connects(web.Machine, netip.AddrPortFrom(db.Address, 5432), probe.Answered)
	n.cli("delete", "green", "--force")
}
