package ipam_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/zosnet/zosnet/pkg/ipam"
)

func TestSpace(t *testing.T) {
	other, own, resting := ipam.Delegation{Node: "n2"}, ipam.Delegation{Node: "gw1"}, ipam.Delegation{Node: "n2", Until: start.Add(time.Hour)}
	for _, row := range []struct {
		name   string
		blocks map[string]ipam.Delegation
		want   []string
	}{
		{"all is the holder's", nil, []string{"2001:db8:1::/48", "2001:db8:2::/56"}},
		{"its own blocks are", map[string]ipam.Delegation{"2001:db8:1::/56": own, "2001:db8:2::/56": own}, []string{"2001:db8:1::/48", "2001:db8:2::/56"}},
		{"what rests is", map[string]ipam.Delegation{"2001:db8:1::/56": resting}, []string{"2001:db8:1::/48", "2001:db8:2::/56"}},
		{"a whole prefix is another's", map[string]ipam.Delegation{"2001:db8:2::/56": other}, []string{"2001:db8:1::/48"}},
		{"the lower half is", map[string]ipam.Delegation{"2001:db8:1::/49": other}, []string{"2001:db8:1:8000::/49", "2001:db8:2::/56"}},
		{"a block in the middle is", map[string]ipam.Delegation{"2001:db8:1:5000::/52": other},
			[]string{"2001:db8:1::/50", "2001:db8:1:4000::/52", "2001:db8:1:6000::/51", "2001:db8:1:8000::/49", "2001:db8:2::/56"}},
		{"the last /64 is", map[string]ipam.Delegation{"2001:db8:2:ff::/64": other, "2001:db8:1::/48": other},
			[]string{"2001:db8:2::/57", "2001:db8:2:80::/58", "2001:db8:2:c0::/59", "2001:db8:2:e0::/60", "2001:db8:2:f0::/61", "2001:db8:2:f8::/62", "2001:db8:2:fc::/63", "2001:db8:2:fe::/64"}},
	} {
		h := ipam.Holding{Holder: "gw1", Registrations: map[netip.Prefix]ipam.Registration{
			prefix("2001:db8:1::/48"): {}, prefix("2001:db8:2::/56"): {},
		}, Blocks: map[netip.Prefix]ipam.Delegation{}}
		for block, d := range row.blocks {
			h.Blocks[prefix(block)] = d
		}
		var want []netip.Prefix
		for _, text := range row.want {
			want = append(want, prefix(text))
		}
		if got := h.Space(); !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", row.name, got, want)
		}
	}
}
