package plan

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
)

// TestInterfaceNames says what names look like; they must never change for a
// node, network and workload, or every interface would be made anew.
func TestInterfaceNames(t *testing.T) {
	for _, row := range []struct {
		name string
		want string
	}{
		{bridgeIdentity("n1", "acme").interfaceName(bridgeKind, "acme"), "zbacme-"},
		{bridgeIdentity("n1", "a").interfaceName(bridgeKind, "a"), "zba-"},
		{workloadIdentity("n1", "acme", "frontend").interfaceName(workloadKind, "frontend"), "zwfront-"},
	} {
		if !strings.HasPrefix(row.name, row.want) || !regexp.MustCompile(`^z[bw][a-z0-9-]{1,5}-[a-z2-7]{7}$`).MatchString(row.name) {
			t.Errorf("%s does not begin with %s and end in seven base32 digits", row.name, row.want)
		}
		if len(row.name) > 15 {
			t.Errorf("%s has %d bytes, an interface name at most 15", row.name, len(row.name))
		}
	}
}

// TestIdentityOfNode says that two nodes on one machine share no name and no MAC.
func TestIdentityOfNode(t *testing.T) {
	a, b := bridgeIdentity("n1", "acme"), bridgeIdentity("n2", "acme")
	if a.interfaceName(bridgeKind, "acme") == b.interfaceName(bridgeKind, "acme") || a.mac() == b.mac() {
		t.Error("n1 and n2 use one name or MAC for acme's bridge")
	}
}

func TestMAC(t *testing.T) {
	seen := map[[6]byte]int{}
	for i := range 1000 {
		mac := workloadIdentity("n1", "acme", fmt.Sprintf("w%d", i)).mac()
		if mac[0]&0x03 != 0x02 {
			t.Fatalf("%x is not unicast and locally administered", mac)
		}
		seen[mac]++
	}
	if len(seen) != 1000 {
		t.Errorf("1000 workloads have %d MACs", len(seen))
	}
}

// TestLinkLocal uses the example of RFC 4291, appendix A.
func TestLinkLocal(t *testing.T) {
	got := linkLocal([6]byte{0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde})
	if want := netip.MustParseAddr("fe80::3656:78ff:fe9a:bcde"); got != want {
		t.Errorf("link-local address %s, want %s", got, want)
	}
}

// TestInterfaceCollisions says that an interface name that two things want is an
// error that names both.
func TestInterfaceCollisions(t *testing.T) {
	bridge := bridgeIdentity("n1", "acme").interfaceName(bridgeKind, "acme")
	for _, row := range []struct {
		name string
		edit func(*Input)
		want string
	}{
		{"two taps", func(in *Input) {
			in.Attachments = append(in.Attachments, Attachment{Network: "acme", Service: "db", Name: "vm-2",
				Kind: WorkloadTap, TapName: "tap0", Host: 0x102})
		}, "interface name tap0 is wanted by workload acme/vm-2 and workload globex/vm-1"},
		{"a tap and an uplink", func(in *Input) { in.Attachments[3].TapName = "eth0" },
			"interface name eth0 is wanted by uplink eth0 and workload globex/vm-1"},
		{"a tap and a bridge", func(in *Input) { in.Attachments[3].TapName = bridge },
			"interface name " + bridge + " is wanted by network acme and workload globex/vm-1"},
	} {
		t.Run(row.name, func(t *testing.T) {
			in := twoNetworks(t)
			row.edit(&in)
			if _, err := Compute(in); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("error %v, want %q", err, row.want)
			}
		})
	}
}

// TestHashCollision makes two names collide, which by chance takes 2^17 of them.
func TestHashCollision(t *testing.T) {
	s := State{Workloads: []Workload{
		{Network: "acme", Name: "a", Interface: "zwa-aaaaaaa", MAC: [6]byte{2}},
		{Network: "acme", Name: "b", Interface: "zwa-aaaaaaa", MAC: [6]byte{2}},
		{Network: "globex", Name: "c", Interface: "zwc-aaaaaaa", MAC: [6]byte{2}},
	}}
	err := checkInterfaces(&s)
	for _, want := range []string{
		"interface name zwa-aaaaaaa is wanted by workload acme/a and workload acme/b",
		"MAC 020000000000 is wanted by workload acme/a and workload acme/b;",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}
