package ipam_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/zosnet/zosnet/pkg/ipam"
)

// plainSpace is the slow, obvious holder that Holding is held against: whose each
// /64 is, looked at one by one. Its space is 2001:db8::/52 in two registrations.
type plainSpace struct {
	node   [4096]string // "": nobody's
	until  [4096]time.Time
	blocks map[netip.Prefix]string
}

func (m *plainSpace) free(first, size int, now time.Time) bool {
	for i := first; i < first+size; i++ {
		if m.node[i] != "" || now.Before(m.until[i]) {
			return false
		}
	}
	return true
}

func (m *plainSpace) delegate(node string, bits int, now time.Time) (netip.Prefix, bool) {
	size := 1 << (64 - bits)
	for first := 0; first < 4096; first += size {
		if m.free(first, size, now) {
			for i := first; i < first+size; i++ {
				m.node[i] = node
			}
			block := netip.PrefixFrom(nth(first).Addr(), bits)
			m.blocks[block] = node
			return block, true
		}
	}
	return netip.Prefix{}, false
}

func (m *plainSpace) release(block netip.Prefix, now time.Time) {
	for i := range m.node {
		if block.Contains(nth(i).Addr()) {
			m.node[i], m.until[i] = "", now.Add(ipam.Rest)
		}
	}
	delete(m.blocks, block)
}

// nth is the n-th /64 of 2001:db8::/52.
func nth(n int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0, 0, byte(n >> 8), byte(n)}), 64)
}

// TestHoldingAgainstPlainSpace: no /64 is ever in two nodes' blocks, each block is
// the lowest that is free, what was released rests, what was not released stays.
func TestHoldingAgainstPlainSpace(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := holding(t, "2001:db8::/53", "2001:db8:0:800::/53")
		model := &plainSpace{blocks: map[netip.Prefix]string{}}
		now := start
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			node := fmt.Sprintf("n%d", rapid.IntRange(1, 6).Draw(rt, "node"))
			switch rapid.IntRange(0, 5).Draw(rt, "step") {
			case 0:
				now = now.Add(time.Duration(rapid.IntRange(0, 90).Draw(rt, "minutes")) * time.Minute)
			case 1:
				for _, block := range h.Of(node) {
					model.release(block, now)
				}
				h = h.RemoveNode(node, now)
			case 2:
				have := slices.SortedFunc(maps.Keys(model.blocks), netip.Prefix.Compare)
				if len(have) == 0 {
					continue
				}
				block := rapid.SampledFrom(have).Draw(rt, "block")
				next, err := h.Release(block, node, now)
				if mine := model.blocks[block] == node; mine != (err == nil) {
					rt.Fatalf("%s releases %s, which is %s's: %v", node, block, model.blocks[block], err)
				}
				if h = next; err == nil {
					model.release(block, now)
				}
			default:
				bits := rapid.SampledFrom([]int{55, 56, 60, 64}).Draw(rt, "bits")
				had := h.Of(node)
				want, ok := model.delegate(node, bits, now)
				next, got, err := h.Delegate(node, len(had)+1, bits, now)
				if ok != (err == nil) || ok && (!slices.Contains(got, want) || len(got) != len(had)+1) {
					rt.Fatalf("%s has %s and %v; want %s, %t", node, got, err, want, ok)
				}
				h = next
			}
			owned := map[netip.Prefix]string{}
			for block, d := range h.Blocks {
				if d.Owned() {
					owned[block] = d.Node
				}
			}
			if !maps.Equal(owned, model.blocks) {
				rt.Fatalf("delegated are %v, want %v", owned, model.blocks)
			}
		}
	})
}
