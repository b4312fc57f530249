package delegation

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/zosnet/zosnet/pkg/ipam"
	"github.com/zosnet/zosnet/pkg/spec"
)

// TestVerifyTargets: where probes go.
func TestVerifyTargets(t *testing.T) {
	node := &spec.Node{Name: "n1", Prefixes: pfxs("2001:db8:1::/48", "2001:db8:2::/64")}
	local := keeps(nil, map[string]string{"2001:db8:1::/56": "n1", "2001:db8:7:300::/56": "gw7"})
	given := map[netip.Prefix]ipam.Delegation{pfx("2001:db8:1::/56"): {Node: "n1"}, pfx("2001:db8:1:8000::/49"): {Node: "n2"}}
	held := verifyTarget{pfx("2001:db8:1::/48"), pfx("2001:db8:1::/56")}
	had := verifyTarget{pfx("2001:db8:7:300::/56"), pfx("2001:db8:7:300::/56")}
	for _, row := range []struct {
		name, asked string
		want        []verifyTarget
	}{
		{"all", "::/0", []verifyTarget{held, had}},
		{"a block of another holder", "2001:db8:7:300::/56", []verifyTarget{had}},
		{"a /64", "2001:db8:7:301::/64", []verifyTarget{{had.routed, pfx("2001:db8:7:301::/64")}}},
		{"an address", "2001:db8:1:401::1/128", []verifyTarget{{held.routed, pfx("2001:db8:1:401::/64")}}},
		{"what another node has", "2001:db8:1:9000::/56", nil},
		{"the node's own /64", "2001:db8:7:300::/64", nil},
		{"a prefix without room for a network", "2001:db8:2::/64", nil},
		{"somebody else's", "2001:db8:5::/48", nil},
	} {
		if got := targetsIn(pfx(row.asked), node, local, given); !slices.Equal(got, row.want) {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
}
