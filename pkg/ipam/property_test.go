package ipam_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/zosnet/zosnet/pkg/ipam"
)

// plainSet is the slow, obvious allocator that State is held against: a list of
// every assignable /64 in ascending order, walked from its start each time.
type plainSet struct {
	all     []netip.Prefix
	owner   map[netip.Prefix]string
	resting map[netip.Prefix]time.Time
}

func (m *plainSet) allocate(network string, now time.Time) (netip.Prefix, bool) {
	for _, p := range m.all {
		if m.owner[p] == network {
			return p, true
		}
	}
	for _, p := range m.all {
		if until, rests := m.resting[p]; m.owner[p] == "" && (!rests || !now.Before(until)) {
			m.owner[p] = network
			delete(m.resting, p)
			return p, true
		}
	}
	return netip.Prefix{}, false
}

func (m *plainSet) release(network string, now time.Time) {
	for p, o := range m.owner {
		if o == network {
			delete(m.owner, p)
			m.resting[p] = now.Add(ipam.Rest)
		}
	}
}

// assignable lists the /64s of 2001:db8::/48 that lie in one of the prefixes
// and do not start a block, by looking at each of the 65,536.
func assignable(prefixes []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for n := range 1 << 16 {
		addr := netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0, 0, byte(n >> 8), byte(n)})
		for _, p := range prefixes {
			if p.Contains(addr) {
				block, _ := addr.Prefix(max(p.Bits(), 56))
				if block.Addr() != addr {
					out = append(out, netip.PrefixFrom(addr, 64))
				}
				break
			}
		}
	}
	return out
}

// TestAgainstPlainSet: never given twice, never the first of a block, stable,
// lowest first, and what was released rests.
func TestAgainstPlainSet(t *testing.T) {
	choices := [][]string{
		{"2001:db8::/60"},
		{"2001:db8:0:100::/61", "2001:db8:0:80::/61"},
		{"2001:db8:0:100::/64", "2001:db8:0:2f0::/60", "2001:db8:0:2f8::/61"},
		{"2001:db8:0:fe00::/55"},
	}
	rapid.Check(t, func(rt *rapid.T) {
		list := prefixes(t, rapid.SampledFrom(choices).Draw(rt, "prefixes")...)
		b, err := ipam.ParseBlocks(list)
		if err != nil {
			rt.Fatal(err)
		}
		model := &plainSet{all: assignable(b.Prefixes()), owner: map[netip.Prefix]string{}, resting: map[netip.Prefix]time.Time{}}
		if uint64(len(model.all)) != b.Capacity() {
			rt.Fatalf("capacity %d, want %d", b.Capacity(), len(model.all))
		}
		networks := rapid.IntRange(1, 25).Draw(rt, "networks")
		var s ipam.State
		now := start
		for range rapid.IntRange(1, 80).Draw(rt, "steps") {
			network := fmt.Sprintf("n%d", rapid.IntRange(1, networks).Draw(rt, "network"))
			switch rapid.IntRange(0, 3).Draw(rt, "step") {
			case 0:
				s = s.Release(network, now)
				model.release(network, now)
			case 1:
				now = now.Add(time.Duration(rapid.IntRange(0, 3600).Draw(rt, "seconds")) * time.Second)
			default:
				want, ok := model.allocate(network, now)
				next, got, err := s.Allocate(b, network, "n1", now)
				if (err == nil) != ok || (ok && got != want) {
					rt.Fatalf("%s got %s, %v; want %s, %t", network, got, err, want, ok)
				}
				s = next
			}
			check(rt, s, model)
		}
	})
}

// check compares who owns what.
func check(t *rapid.T, s ipam.State, model *plainSet) {
	t.Helper()
	owners := map[string]netip.Prefix{}
	for p, l := range s.Prefixes {
		if !l.Owned() {
			continue
		}
		if other, twice := owners[l.Network]; twice {
			t.Fatalf("%s owns %s and %s", l.Network, other, p)
		}
		owners[l.Network] = p
		if model.owner[p] != l.Network {
			t.Fatalf("%s is %s's, want %q", p, l.Network, model.owner[p])
		}
	}
	if len(owners) != len(model.owner) {
		t.Fatalf("%d networks own a /64, want %d", len(owners), len(model.owner))
	}
}
