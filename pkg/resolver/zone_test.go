package resolver

import (
	"net/netip"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func addrs(list ...string) (out []netip.Addr) {
	for _, s := range list {
		out = append(out, addr(s))
	}
	return out
}

// acme has two nodes. db-2 is not healthy, vm-1 has taken no address of the
// network's yet, cache has no workload.
func acme() Network {
	return Network{
		Name: "acme", Resolver: addr("2001:db8:0:1::53"),
		Prefixes: map[string]netip.Prefix{
			"n1": netip.MustParsePrefix("2001:db8:0:1::/64"), "n2": netip.MustParsePrefix("2001:db8:0:201::/64"),
		},
		Services: []string{"web", "db", "cache"},
		Workloads: []Workload{
			{Name: "web-2", Service: "web", Node: "n2", Addresses: addrs("2001:db8:0:201::100"), Healthy: true},
			{Name: "web-1", Service: "web", Node: "n1", Addresses: addrs("2001:db8:0:1::101", "2001:db8:0:1::1:0"), Healthy: true},
			{Name: "db-1", Service: "db", Node: "n1", Addresses: addrs("2001:db8:0:1::100"), Healthy: true},
			{Name: "db-2", Service: "db", Node: "n2", Addresses: addrs("2001:db8:0:201::101")},
			{Name: "vm-1", Service: "web", Node: "n2", Addresses: addrs("fe80::1", "2001:db8:f::1"), Healthy: true},
		},
	}
}

const acmeZone = `; Names of network acme. Made by zosnet: what is changed here is overwritten.
$TTL 1
internal. IN SOA 53.acme.internal. hostmaster.acme.internal. SERIAL 3600 600 86400 1
internal. IN NS 53.acme.internal.
acme.internal. IN SOA 53.acme.internal. hostmaster.acme.internal. SERIAL 3600 600 86400 1
acme.internal. IN NS 53.acme.internal.
53.acme.internal. IN AAAA 2001:db8:0:1::53
cache.acme.internal. IN TXT "service"
cache.n1.acme.internal. IN TXT "service"
cache.n2.acme.internal. IN TXT "service"
db-1.acme.internal. IN TXT "workload"
db-1.acme.internal. IN AAAA 2001:db8:0:1::100
db-2.acme.internal. IN TXT "workload"
db-2.acme.internal. IN AAAA 2001:db8:0:201::101
db.acme.internal. IN TXT "service"
db.acme.internal. IN AAAA 2001:db8:0:1::100
db.n1.acme.internal. IN TXT "service"
db.n1.acme.internal. IN AAAA 2001:db8:0:1::100
db.n2.acme.internal. IN TXT "service"
n1.acme.internal. IN TXT "node"
n2.acme.internal. IN TXT "node"
vm-1.acme.internal. IN TXT "workload"
web-1.acme.internal. IN TXT "workload"
web-1.acme.internal. IN AAAA 2001:db8:0:1::101
web-1.acme.internal. IN AAAA 2001:db8:0:1::1:0
web-2.acme.internal. IN TXT "workload"
web-2.acme.internal. IN AAAA 2001:db8:0:201::100
web.acme.internal. IN TXT "service"
web.acme.internal. IN AAAA 2001:db8:0:1::101
web.acme.internal. IN AAAA 2001:db8:0:1::1:0
web.acme.internal. IN AAAA 2001:db8:0:201::100
web.n1.acme.internal. IN TXT "service"
web.n1.acme.internal. IN AAAA 2001:db8:0:1::101
web.n1.acme.internal. IN AAAA 2001:db8:0:1::1:0
web.n2.acme.internal. IN TXT "service"
web.n2.acme.internal. IN AAAA 2001:db8:0:201::100
`

func TestZone(t *testing.T) {
	serial := regexp.MustCompile(`hostmaster.acme.internal. (\d+) `)
	forward, reverse := serial.ReplaceAllString(string(acme().Zone()), "hostmaster.acme.internal. SERIAL "), ""
	if len(forward) > len(acmeZone) {
		forward, reverse = forward[:len(acmeZone)], forward[len(acmeZone):]
	}
	if diff := cmp.Diff(acmeZone, forward); diff != "" {
		t.Errorf("the names (-want +got):\n%s", diff)
	}
	const first, second = "1.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.", "1.0.2.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa."
	const rest = " IN SOA 53.acme.internal. hostmaster.acme.internal. SERIAL 3600 600 86400 1\n"
	want := first + rest + first + " IN NS 53.acme.internal.\n" + second + rest + second + " IN NS 53.acme.internal.\n" +
		"3.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0." + first + " IN PTR 53.acme.internal.\n" +
		"0.0.1.0.0.0.0.0.0.0.0.0.0.0.0.0." + first + " IN PTR db-1.acme.internal.\n" +
		"1.0.1.0.0.0.0.0.0.0.0.0.0.0.0.0." + second + " IN PTR db-2.acme.internal.\n" +
		"1.0.1.0.0.0.0.0.0.0.0.0.0.0.0.0." + first + " IN PTR web-1.acme.internal.\n" +
		"0.0.0.0.1.0.0.0.0.0.0.0.0.0.0.0." + first + " IN PTR web-1.acme.internal.\n" +
		"0.0.1.0.0.0.0.0.0.0.0.0.0.0.0.0." + second + " IN PTR web-2.acme.internal.\n; end\n"
	if diff := cmp.Diff(want, reverse); diff != "" {
		t.Errorf("the reverse names (-want +got):\n%s", diff)
	}
}

// The same network in another order gives the same file.
func TestZoneIsStable(t *testing.T) {
	want := string(acme().Zone())
	for range 20 {
		n := acme()
		slices.Reverse(n.Workloads)
		slices.Reverse(n.Services)
		for _, w := range n.Workloads {
			slices.Reverse(w.Addresses)
		}
		if diff := cmp.Diff(want, string(n.Zone())); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	}
}

// Other content has another serial number.
func TestZoneSerial(t *testing.T) {
	serial := func(n Network) uint32 {
		z, err := parseZone(n.Zone())
		if err != nil {
			t.Fatal(err)
		}
		return z.apexes["acme.internal."].Serial
	}
	other := acme()
	other.Workloads[0].Healthy = false
	if serial(acme()) == serial(other) {
		t.Errorf("both have the serial number %d", serial(other))
	}
}

func TestResolvConf(t *testing.T) {
	want := "# Made by zosnet.\nnameserver 2001:db8:0:1::53\nsearch acme.internal\noptions timeout:2 attempts:2\n"
	if diff := cmp.Diff(want, string(ResolvConf("acme", addr("2001:db8:0:1::53")))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	servers, err := parseForward(Forward(addrs("2001:db8::53", "192.0.2.53")))
	if err != nil || len(servers) != 2 || servers[1].String() != "192.0.2.53:53" {
		t.Errorf("the servers read again: %v, %v", servers, err)
	}
	for _, bad := range []string{"nameserver", "nameserver x\n", "search acme.internal\n"} {
		if _, err := parseForward([]byte(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
