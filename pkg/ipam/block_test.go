package ipam_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zosnet/zosnet/pkg/ipam"
)

func prefixes(t testing.TB, list ...string) []netip.Prefix {
	t.Helper()
	var out []netip.Prefix
	for _, s := range list {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

func blocks(t testing.TB, list ...string) ipam.Blocks {
	t.Helper()
	b, err := ipam.ParseBlocks(prefixes(t, list...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseBlocks(t *testing.T) {
	tests := []struct {
		name     string
		in       []string
		want     []string
		capacity uint64
	}{
		{"none", nil, nil, 0},
		{"a /48 is 256 blocks of 255", []string{"2001:db8::/48"}, []string{"2001:db8::/48"}, 256 * 255},
		{"a /56 is one block", []string{"2001:db8::/56"}, []string{"2001:db8::/56"}, 255},
		{"a longer prefix is one block", []string{"2001:db8::/60"}, []string{"2001:db8::/60"}, 15},
		{"a /64 is the node's own and nobody else's", []string{"2001:db8::/64"}, []string{"2001:db8::/64"}, 0},
		{"ascending", []string{"2001:db8:2::/56", "2001:db8:1::/56"}, []string{"2001:db8:1::/56", "2001:db8:2::/56"}, 510},
		{"one inside another counts once", []string{"2001:db8:0:ff00::/56", "2001:db8::/48", "2001:db8::/56"}, []string{"2001:db8::/48"}, 256 * 255},
		{"neighbours stay apart", []string{"2001:db8::/57", "2001:db8:0:80::/57"}, []string{"2001:db8::/57", "2001:db8:0:80::/57"}, 254},
		{"host bits are cleared", []string{"2001:db8::5/56"}, []string{"2001:db8::/56"}, 255},
		{"everything there is", []string{"::/0"}, []string{"::/0"}, 1 << 32},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := blocks(t, tt.in...)
			var got []string
			for _, p := range b.Prefixes() {
				got = append(got, p.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("prefixes (-want +got):\n%s", diff)
			}
			if b.Capacity() != tt.capacity {
				t.Errorf("capacity %d, want %d", b.Capacity(), tt.capacity)
			}
		})
	}
}

func TestParseBlocksRefuses(t *testing.T) {
	tests := []struct {
		name string
		in   netip.Prefix
		want string
	}{
		{"IPv4", netip.MustParsePrefix("192.0.2.0/24"), "not an IPv6 prefix"},
		{"nothing", netip.Prefix{}, "not an IPv6 prefix"},
		{"shorter than a network", netip.MustParsePrefix("2001:db8::/65"), "longer than /64"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ipam.ParseBlocks([]netip.Prefix{tt.in})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestAssignable(t *testing.T) {
	b := blocks(t, "2001:db8::/48", "2001:db8:1:10::/60")
	tests := []struct {
		prefix string
		want   bool
	}{
		{"2001:db8::/64", false},        // first of the first block
		{"2001:db8:0:1::/64", true},     //
		{"2001:db8:0:ff::/64", true},    // last of the first block
		{"2001:db8:0:100::/64", false},  // first of the second block
		{"2001:db8:0:ff01::/64", true},  // in the last block
		{"2001:db8:1::/64", false},      // beside the prefixes
		{"2001:db8:1:10::/64", false},   // first of a short block
		{"2001:db8:1:1f::/64", true},    // its last
		{"2001:db8:1:20::/64", false},   // after it
		{"2001:db8:0:100::/56", false},  // a block is no /64
		{"2001:db8:0:1:8::/80", false},  // nor is a part of one
		{"2001:db8:ffff::/64", false},   // elsewhere
		{"2001:db8:0:fe00::/64", false}, // first of a block far in
	}
	for _, tt := range tests {
		if got := b.Assignable(netip.MustParsePrefix(tt.prefix)); got != tt.want {
			t.Errorf("%s assignable: %t, want %t", tt.prefix, got, tt.want)
		}
	}
}

func TestAddress(t *testing.T) {
	p := netip.MustParsePrefix("2001:db8:0:7::/64")
	for host, want := range map[uint32]string{
		ipam.FirstHost: "2001:db8:0:7::100",
		0x1ffff:        "2001:db8:0:7::1:ffff",
		0xfffffffe:     "2001:db8:0:7::ffff:fffe",
	} {
		if got := ipam.Address(p, host); got != netip.MustParseAddr(want) {
			t.Errorf("host %#x: %s, want %s", host, got, want)
		}
	}
	if got := ipam.Gateway(p); got != netip.MustParseAddr("2001:db8:0:7::1") {
		t.Errorf("gateway %s", got)
	}
}

func TestAllocateHost(t *testing.T) {
	tests := []struct {
		name string
		used []uint32
		want uint32
	}{
		{"first", nil, 0x100},
		{"next", []uint32{0x100}, 0x101},
		{"lowest hole", []uint32{0x100, 0x102}, 0x101},
		{"those below do not count", []uint32{1, 2}, 0x100},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			used := map[uint32]bool{}
			for _, h := range tt.used {
				used[h] = true
			}
			got, err := ipam.AllocateHost(func(h uint32) bool { return used[h] })
			if err != nil || got != tt.want {
				t.Errorf("%#x, %v; want %#x", got, err, tt.want)
			}
		})
	}
}
