package policy

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"
)

// Digest gives a hash of all that the datapath reads, 64 hex digits: two
// Programs with the same Digest decide the same. Where entries stand in their
// file and how they are worded is not in it.
func (p *Program) Digest() string {
	var b bytes.Buffer
	number := func(n int) { b.Write(binary.LittleEndian.AppendUint64(nil, uint64(n))) }
	set := func(s Bits) {
		number(len(s))
		for _, word := range s {
			b.Write(binary.LittleEndian.AppendUint64(nil, word))
		}
	}
	sets := func(list []Bits) {
		number(len(list))
		for _, s := range list {
			set(s)
		}
	}
	services := func(m map[uint32]Bits) {
		number(len(m))
		for _, id := range slices.Sorted(maps.Keys(m)) {
			number(int(id))
			set(m[id])
		}
	}
	number(int(p.Network))
	number(len(p.Entries))
	services(p.FromService)
	services(p.ToService)
	sets(p.FromCIDR)
	sets(p.ToCIDR)
	number(len(p.CIDRs))
	for _, c := range p.CIDRs {
		address := c.Prefix.Addr().As16()
		b.Write(address[:])
		number(c.Prefix.Bits())
		number(int(c.Class))
	}
	sets(p.PortClasses)
	number(len(p.Ports))
	for _, c := range p.Ports {
		flag := 0
		if c.AnyProto {
			flag = 1
		}
		for _, n := range []int{flag, int(c.Proto), int(c.Port), c.Bits, int(c.Class)} {
			number(n)
		}
	}
	set(p.Allow)
	set(p.Log)
	sum := sha256.Sum256(b.Bytes())
	return hex.EncodeToString(sum[:])
}
