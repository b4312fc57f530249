package policy

import (
	"maps"
	"math/bits"
	"slices"

	"github.com/zosnet/zosnet/pkg/spec"
)

// portSweep collects which entries match which ports, and turns them into
// prefixes by going once over the boundaries of each protocol's ranges.
type portSweep struct {
	words  int
	any    Bits           // entries that match every protocol
	whole  map[uint8]Bits // entries that match all of a protocol
	bounds map[uint8][]bound
}

// bound is where an entry's range of ports begins or has just ended.
type bound struct {
	port     uint32 // 0 to 65536
	position int
	step     int // 1 where the range begins, -1 after its end
}

func newPortSweep(words int) portSweep {
	return portSweep{words: words, any: make(Bits, words), whole: map[uint8]Bits{}, bounds: map[uint8][]bound{}}
}

// add makes an entry match these ports, or everything.
func (s *portSweep) add(position int, ports []spec.Ports, everything bool) {
	if everything {
		s.any.Set(position)
	}
	for _, p := range ports {
		if p.Any {
			s.any.Set(position)
			continue
		}
		if s.whole[p.Proto] == nil {
			s.whole[p.Proto] = make(Bits, s.words)
		}
		if p.First == 0 && p.Last == 65535 {
			s.whole[p.Proto].Set(position)
			continue
		}
		s.bounds[p.Proto] = append(s.bounds[p.Proto],
			bound{uint32(p.First), position, 1}, bound{uint32(p.Last) + 1, position, -1})
	}
}

// classify gives the prefixes, sorted, and the classes that they name. A block
// of ports that matches what its protocol does as a whole has no prefix of its
// own.
func (s *portSweep) classify() ([]PortPrefix, []Bits) {
	found := newClasses()
	prefixes := []PortPrefix{{AnyProto: true, Class: found.number(s.any)}}
	for _, proto := range slices.Sorted(maps.Keys(s.whole)) {
		base := slices.Clone(s.any)
		base.add(s.whole[proto])
		if !slices.Equal(base, s.any) {
			prefixes = append(prefixes, PortPrefix{Proto: uint16(proto), Class: found.number(base)})
		}
		prefixes = append(prefixes, sweep(uint16(proto), base, s.bounds[proto], found)...)
	}
	return prefixes, found.sets
}

// sweep goes over one protocol's ports from boundary to boundary.
func sweep(proto uint16, base Bits, bounds []bound, found *classes) (prefixes []PortPrefix) {
	slices.SortFunc(bounds, func(a, b bound) int { return int(a.port) - int(b.port) })
	open := map[int]int{} // how many of an entry's ranges hold the port; they may overlap
	set := slices.Clone(base)
	for i := 0; i < len(bounds); {
		port := bounds[i].port
		for ; i < len(bounds) && bounds[i].port == port; i++ {
			b := bounds[i]
			open[b.position] += b.step
			if open[b.position] > 0 || base.Has(b.position) {
				set.Set(b.position)
			} else {
				set.clear(b.position)
			}
		}
		if i < len(bounds) && !slices.Equal(set, base) {
			prefixes = appendRange(prefixes, proto, port, bounds[i].port-1, found.number(set))
		}
	}
	return prefixes
}

// appendRange covers the ports from first to last, inclusive, with prefixes.
func appendRange(prefixes []PortPrefix, proto uint16, first, last, class uint32) []PortPrefix {
	for first <= last {
		size := uint32(1) << min(bits.TrailingZeros32(first), 16) // the largest block that can begin here
		for first+size-1 > last {
			size /= 2
		}
		prefixes = append(prefixes, PortPrefix{
			Proto: proto, Port: uint16(first), Bits: 16 - bits.TrailingZeros32(size), Class: class,
		})
		first += size
	}
	return prefixes
}

func (b Bits) add(other Bits) {
	for w, word := range other {
		b[w] |= word
	}
}

func (b Bits) clear(i int) { b[i/64] &^= 1 << (i % 64) }
