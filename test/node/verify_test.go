package node

import (
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
)

// TestVerifyRouting: `zosnet prefix verify` sees through the lockdown where its probes
// get to, and the node stays as silent as ever.
func TestVerifyRouting(t *testing.T) {
	n := start(t, lab.Config{})
	allocation := lab.Allocation.String()
	wire := n.wire(n.Outside)
	var targets []netip.Addr
	for _, row := range []struct{ name, route, want string }{
		{"right", "via " + lab.NodeIPv6.String(), "routed"},
		{"on the link", "dev near", "on-link"},
		{"refused", "prohibit", "rejected"},
		{"in silence", "blackhole", "lost"},
	} {
		args := []string{"-6", "route", "add", allocation}
		if !strings.Contains(row.route, " ") {
			args = []string{"-6", "route", "add", row.route, allocation}
		} else {
			args = append(args, strings.Fields(row.route)...)
		}
		if _, err := n.Router.Run(t.Context(), "ip", "-6", "route", "flush", allocation); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Router.Run(t.Context(), "ip", args...); err != nil {
			t.Fatal(err)
		}
		out, err := n.daemon.CLI(t.Context(), "prefix", "verify", "-o", "json")
		var failure *lab.Failure
		if err != nil && !errors.As(err, &failure) {
			t.Fatal(err)
		}
		var found struct {
			Checks []struct {
				Prefix, Finding string
				Routed          bool
				Target          netip.Addr
			}
		}
		if err := json.Unmarshal([]byte(out), &found); err != nil || len(found.Checks) != 1 {
			t.Fatalf("%s: %v: %s", row.name, err, out)
		}
		c := found.Checks[0]
		if c.Prefix != allocation || c.Finding != row.want || c.Routed != (row.want == "routed") || (err == nil) != c.Routed {
			t.Errorf("%s: %+v, %v; want %s", row.name, c, err, row.want)
		}
		targets = append(targets, c.Target)
	}
	if _, err := n.Router.Run(t.Context(), "ip", "-6", "route", "replace", allocation, "via", lab.NodeIPv6.String()); err != nil {
		t.Fatal(err)
	}
	for _, target := range append(targets, lab.NodeIPv6) {
		n.pings(n.Outside, target, probe.Silent)
	}
	for _, frame := range wire.Frames(fromAnyOf(append(targets, lab.NodeIPv6))) {
		t.Errorf("the node said something to a stranger:\n%v", frame)
	}
}
