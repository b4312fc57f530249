package spec_test

import (
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/zosnet/zosnet/pkg/spec"
)

// values compares decoded documents without the places, which
// TestPlaces looks at.
var values = cmp.Options{
	cmpopts.IgnoreTypes(spec.Pos{}, spec.Where{}),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

func tcp(port uint16) spec.Ports { return spec.Ports{Proto: spec.ProtoTCP, First: port, Last: port} }

func TestDecodeNode(t *testing.T) {
	tests := []struct {
		name, text string
		want       spec.Node
	}{
		{"everything left out", "node: n1", spec.Node{
			Name: "n1", Underlay: "auto",
			StateDir: "/var/lib/zosnet", RunDir: "/run/zosnet", BPFFS: "/sys/fs/bpf/zosnet",
		}},
		{"everything said", `
node: n1
uplinks: [eth0, eth1]
underlay: dc-dual
endpoint: 192.0.2.10
exit: gw1
prefixes: [2001:db8:aaaa::/48, 2001:DB8:BBBB::/56]
dns: [2001:db8:53::1, 2001:DB8:53::2]
exitPoint: {tunnels: true, ipv4: [198.51.100.10]}
lockdown:
  allow:
    - {from: 203.0.113.0/24, ports: [tcp/22, any, udp/5-6, sctp/any]}
accept: ['ed25519:gN65BkIKy1eCE9pP1wdc8ROUtkHLF2PfAqYdyYBz6EA=']
registry: {endpoints: ['https://[2001:db8::1]:2379'], ca: /t/ca.pem, certificate: /t/n1.pem, key: /t/n1.key}
stateDir: /s
runDir: /r
bpffs: /b
`, spec.Node{
			Name: "n1", Uplinks: []string{"eth0", "eth1"}, Underlay: "dc-dual",
			Endpoint: netip.MustParseAddr("192.0.2.10"), Exit: "gw1",
			Prefixes:  []netip.Prefix{netip.MustParsePrefix("2001:db8:aaaa::/48"), netip.MustParsePrefix("2001:db8:bbbb::/56")},
			DNS:       []netip.Addr{netip.MustParseAddr("2001:db8:53::1"), netip.MustParseAddr("2001:db8:53::2")},
			ExitPoint: &spec.ExitPoint{Tunnels: true, IPv4: []netip.Addr{netip.MustParseAddr("198.51.100.10")}},
			Lockdown: spec.Lockdown{Allow: []spec.LockdownAllow{{
				From: netip.MustParsePrefix("203.0.113.0/24"),
				Ports: []spec.Ports{tcp(22), {Any: true}, {Proto: spec.ProtoUDP, First: 5, Last: 6},
					{Proto: spec.ProtoSCTP, First: 0, Last: 65535}},
			}}},
			Accept: []string{"ed25519:gN65BkIKy1eCE9pP1wdc8ROUtkHLF2PfAqYdyYBz6EA="},
			Registry: spec.Registry{
				Endpoints: []string{"https://[2001:db8::1]:2379"}, CA: "/t/ca.pem", Cert: "/t/n1.pem", Key: "/t/n1.key",
			},
			StateDir: "/s", RunDir: "/r", BPFFS: "/b",
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := spec.DecodeNode("node.yaml", []byte(test.text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, *got, values); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestNodeNotYet(t *testing.T) {
	const head = "node: n1\n"
	tests := []struct{ text, want string }{
		{"", ""},
		{"underlay: auto", ""},
		{"underlay: dc-dual", ""},
		{"endpoint: 192.0.2.1", ""},
		{"registry: {endpoints: []}", ""},
		{"accept: any", ""},
		{"accept: ['ed25519:gN65BkIKy1eCE9pP1wdc8ROUtkHLF2PfAqYdyYBz6EA=']", ""},
		{"underlay: home-ipv4", `n.yaml:2:11: underlay: "home-ipv4" is not yet carried by this version; remove it`},
		{"exit: auto", "n.yaml:2:7: exit: an exit is not yet carried by this version; remove it"},
		{"exitPoint: {}", "n.yaml:2:12: exitPoint: serving as an exit is not yet carried by this version; remove it"},
		{"registry: {endpoints: ['https://a:1'], ca: /c, certificate: /n, key: /k}", ""},
		{"exitPoint: {}\nunderlay: dc-ipv4", `n.yaml:2:12: exitPoint: serving as an exit is not yet carried by this version; remove it
n.yaml:3:11: underlay: "dc-ipv4" is not yet carried by this version; remove it`},
	}
	for _, test := range tests {
		n, err := spec.DecodeNode("n.yaml", []byte(head+test.text))
		if err != nil {
			t.Fatal(err)
		}
		if got := errorText(n.NotYet()); got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.text, got, test.want)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestReadSaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	tests := []struct{ path, want string }{
		{filepath.Join(dir, "none.yaml"), "check the path, or write the file"},
		{dir, "is a directory; name the file in it"},
		{"/dev/zero", "larger than 1048576 bytes"},
		{filepath.Join("testdata", "node", "good", "design.yaml", "x"), "check that the path leads to a file"},
	}
	for _, test := range tests {
		_, nodeErr := spec.ReadNode(test.path)
		_, textErr := spec.ReadText(test.path)
		for _, err := range []error{nodeErr, textErr} {
			if err == nil || !contains(err.Error(), test.path, test.want) {
				t.Errorf("%s: got %v, want it to say %q", test.path, err, test.want)
			}
		}
	}
	if n, err := spec.ReadNode("testdata/node/good/design.yaml"); err != nil || n.Pos.File != "testdata/node/good/design.yaml" {
		t.Errorf("got %+v, %v", n, err)
	}
}
