//go:build vm

package vm

import (
	"fmt"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/testenv"
)

// TestSmoke is the demo's table, small, with a real curl: who reaches whom, also
// while no daemon runs. Its programs are attached as this kernel wants it, by
// clsact or tcx.
func TestSmoke(t *testing.T) {
	curl := testenv.RequireTool(t, "curl")
	s := newScene(t, "uplinks: [up0]\n", func(node, world *lab.Machine) {
		cable(t, node, "up0", world, "eth0")
		addressBoth(t, node, "up0", world, "eth0")
	})
	s.start()
	s.hasUplinks(hooks(t, "up0", "native"))
	s.apply("red", red)
	s.apply("blue", blue)
	web, db, api := s.attach("red", "web", "web-1"), s.attach("red", "db", "db-1"), s.attach("blue", "api", "api-1")
	serve(t, web.Machine, web.at(webPort))
	serve(t, db.Machine, db.at(dbPort))
	serve(t, api.Machine, api.at(webPort))

	const timeout = 28 // curl's exit status when nothing answered in time
	table := []struct {
		from *lab.Machine
		to   netip.AddrPort
		exit int
	}{
		{web.Machine, db.at(dbPort), 0},
		{db.Machine, web.at(webPort), timeout},
		{s.world, web.at(webPort), 0},
		{s.world, db.at(dbPort), timeout},
		{s.world, netip.AddrPortFrom(lab.NodeIPv6, sshPort), timeout},
		{s.world, netip.AddrPortFrom(lab.NodeIPv4, sshPort), timeout},
		{web.Machine, netip.AddrPortFrom(lab.NodeIPv6, sshPort), timeout},
		{web.Machine, api.at(webPort), 0},
		{api.Machine, web.at(webPort), 0},
		{api.Machine, db.at(dbPort), timeout},
		{web.Machine, netip.AddrPortFrom(worldIPv6, webPort), 0},
		{s.Machine, netip.AddrPortFrom(worldIPv6, webPort), 0},
		{s.Machine, netip.AddrPortFrom(worldIPv4, webPort), 0},
	}
	try := func(t *testing.T) {
		for _, row := range table {
			t.Run(fmt.Sprintf("%s to %v", row.from.Name, row.to), func(t *testing.T) {
				t.Parallel() // most of a row is waiting
				patience := "10"
				if row.exit == timeout {
					patience = "1.5"
				}
				cmd := row.from.Command(t.Context(), curl, "-sS", "-m", patience, "http://"+row.to.String()+"/")
				out, err := cmd.CombinedOutput()
				if got := cmd.ProcessState.ExitCode(); got != row.exit {
					t.Errorf("curl ended with %d, %v, want %d\n%s", got, err, row.exit, out)
				}
			})
		}
	}
	t.Run("with its daemon", try)
	s.stop(unix.SIGKILL)
	t.Run("with its daemon killed", try)
	s.start() // so that the test can take its networks away
}
