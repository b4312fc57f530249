package ipam_test

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/test/testenv"
)

func routes(t *testing.T) []ipam.Route {
	t.Helper()
	list, err := ipam.Routes(
		map[netip.Prefix]string{
			prefix("2001:db8:aaaa:200::/56"): "n2", prefix("2001:db8:aaaa:100::/56"): "n1", prefix("2001:db8:bbbb::/48"): "n1",
		},
		map[string]netip.Addr{"n1": netip.MustParseAddr("2001:db8:1::10"), "n2": netip.MustParseAddr("2001:db8:1::20")},
	)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestRoutes(t *testing.T) {
	for format, want := range map[string]string{
		"iproute2": `ip -6 route replace 2001:db8:aaaa:100::/56 via 2001:db8:1::10 # n1
ip -6 route replace 2001:db8:aaaa:200::/56 via 2001:db8:1::20 # n2
ip -6 route replace 2001:db8:bbbb::/48 via 2001:db8:1::10 # n1
`,
		"bird": `protocol static zosnet {
	ipv6;
	route 2001:db8:aaaa:100::/56 via 2001:db8:1::10; # n1
	route 2001:db8:aaaa:200::/56 via 2001:db8:1::20; # n2
	route 2001:db8:bbbb::/48 via 2001:db8:1::10; # n1
}
`,
		"frr": `! n1
ipv6 route 2001:db8:aaaa:100::/56 2001:db8:1::10
! n2
ipv6 route 2001:db8:aaaa:200::/56 2001:db8:1::20
! n1
ipv6 route 2001:db8:bbbb::/48 2001:db8:1::10
`,
	} {
		got, err := ipam.WriteRoutes(format, routes(t))
		if err != nil || got != want {
			t.Errorf("%s: %v\n%s\nwant\n%s", format, err, got, want)
		}
	}
	if _, err := ipam.WriteRoutes("junos", nil); err == nil || !strings.Contains(err.Error(), "iproute2, bird, frr") {
		t.Errorf("an unknown format: %v", err)
	}
}

func TestRoutesWithoutAWay(t *testing.T) {
	blocks := map[netip.Prefix]string{prefix("2001:db8:aaaa::/56"): "n1"}
	for name, hops := range map[string]map[string]netip.Addr{
		"none":        {},
		"IPv4":        {"n1": netip.MustParseAddr("192.0.2.1")},
		"link-local":  {"n1": netip.MustParseAddr("fe80::1")},
		"with a zone": {"n1": netip.MustParseAddr("2001:db8::1%eth0")},
	} {
		if _, err := ipam.Routes(blocks, hops); err == nil || !strings.Contains(err.Error(), "n1") {
			t.Errorf("next hop %s: %v", name, err)
		}
	}
}

// What is printed for iproute2 is run, as it stands, where the next hops are on a
// link.
func TestRoutesByIproute2(t *testing.T) {
	testenv.RequireRoot(t)
	testenv.RequireTool(t, "ip")
	commands, err := ipam.WriteRoutes(ipam.FormatIproute2, routes(t))
	if err != nil {
		t.Fatal(err)
	}
	const script = `set -e
ip link set lo up
ip link add up0 type veth peer name up1
ip link set up0 up
ip link set up1 up
ip -6 address add 2001:db8:1::1/64 dev up0 nodad
`
	cmd := exec.Command("unshare", "--net", "sh", "-c", script+commands+"ip -6 route show via 2001:db8:1::10\n")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"2001:db8:aaaa:100::/56 dev up0", "2001:db8:bbbb::/48 dev up0"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("there is no route %s in\n%s", want, out)
		}
	}
}

// What is printed for BIRD is read by BIRD where there is one.
func TestRoutesByBIRD(t *testing.T) {
	bird, err := exec.LookPath("bird")
	if err != nil {
		t.Skipf("there is no BIRD here: %v", err)
	}
	text, err := ipam.WriteRoutes(ipam.FormatBIRD, routes(t))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "bird.conf")
	if err := os.WriteFile(file, []byte("router id 192.0.2.1;\nprotocol device {}\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(bird, "-p", "-c", file).CombinedOutput(); err != nil {
		t.Errorf("bird refuses it: %v\n%s\n%s", err, out, text)
	}
}
