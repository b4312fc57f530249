package policytest

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// ipv4 makes a packet that no tenant may send, and that lockdown judges.
func (f *frame) ipv4() {
	f.etherType = 0x0800
	proto := pick(f.r, []uint8{6, 6, 17, 17, 1, 132, 47, 58, 41})
	body := f.transport(proto)
	if proto == 17 && len(body) >= 4 && chance(f.r, 30) {
		binary.BigEndian.PutUint16(body[0:], 67)
		binary.BigEndian.PutUint16(body[2:], 68)
	}
	words := 5
	if chance(f.r, 10) {
		words = f.r.IntN(16)
	}
	header := make([]byte, max(20, 4*words))
	header[0] = 4<<4 | byte(words)
	binary.BigEndian.PutUint16(header[2:], f.length(len(header)+len(body)))
	binary.BigEndian.PutUint16(header[4:], uint16(f.r.Uint32()))
	if chance(f.r, 15) { // fragments
		binary.BigEndian.PutUint16(header[6:], uint16(f.r.IntN(2))<<13|pick(f.r, []uint16{0, 0, 1, 7, 8, 9, 100}))
	}
	header[8], header[9] = 64, proto
	copy(header[12:], pick(f.r, [][]byte{{203, 0, 113, 5}, {203, 0, 113, 6}, {198, 51, 100, 1}, {0, 0, 0, 0}}))
	copy(header[16:], []byte{192, 0, 2, 10})
	f.packet = slices.Concat(header, body)
}

// length gives a length field: right in most cases.
func (f *frame) length(right int) uint16 {
	if chance(f.r, 3) {
		return pick(f.r, []uint16{0, uint16(right) - 1, uint16(right) + 1, 40, 65535, 65500})
	}
	return uint16(right)
}

// ipv6 makes a packet of a flow, or a message of neighbour discovery or MLD.
func (f *frame) ipv6() {
	f.etherType = 0x86dd
	source := f.source()
	dest := f.dest(source)
	hops := uint8(64)
	if chance(f.r, 6) {
		hops = pick(f.r, []uint8{0, 1, 2, 255})
	}
	proto := pick(f.r, []uint8{6, 6, 6, 6, 17, 17, 17, 58, 58, 132, 47, 59, 1, 41, 50, 135})
	var body []byte
	switch n := f.r.IntN(100); {
	case n < 10:
		proto = 58
		source, dest, hops, body = f.neighbor(source, dest)
	case n < 13:
		proto = 58
		source, dest, hops, body = f.listener(source, dest)
	default:
		body = f.transport(proto)
	}
	chain, first := f.extensions(proto)
	if chance(f.r, 1) { // too long for a link
		body = append(body, bytes(f.r, 1100+f.r.IntN(500))...)
	}
	header := make([]byte, 40)
	header[0] = 6 << 4
	if chance(f.r, 1) {
		header[0] = byte(f.r.Uint32())
	}
	binary.BigEndian.PutUint16(header[4:], f.length(len(chain)+len(body)))
	header[6], header[7] = first, hops
	copy16(header[8:], source)
	copy16(header[24:], dest)
	f.packet = slices.Concat(header, chain, body)
}

func copy16(b []byte, a netip.Addr) {
	bytes := a.As16()
	copy(b, bytes[:])
}

// extensions gives a chain of headers that ends in a protocol, and the protocol
// number of its first.
func (f *frame) extensions(last uint8) (chain []byte, first uint8) {
	if !chance(f.r, 25) {
		return nil, last
	}
	var kinds []uint8
	for len(kinds) == 0 || chance(f.r, 40) {
		kinds = append(kinds, pick(f.r, []uint8{0, 43, 44, 44, 44, 51, 60, 60}))
	}
	if chance(f.r, 3) {
		for len(kinds) < 8 {
			kinds = append(kinds, 60)
		}
	}
	for i, kind := range kinds {
		next := last
		if i+1 < len(kinds) {
			next = kinds[i+1]
		}
		chain = append(chain, f.extension(kind, next)...)
	}
	return chain, kinds[0]
}

func (f *frame) extension(kind, next uint8) []byte {
	b := bytes(f.r, 8)
	b[0] = next
	switch kind {
	case 44:
		field := pick(f.r, []uint16{0, 0, 1, 1, 1, 8, 56 | 1, 64, 64 | 1, 72, 1480 | 1, 0xfff8, 6})
		binary.BigEndian.PutUint16(b[2:], field)
	case 43:
		b[1] = 0
		if chance(f.r, 60) {
			b[3] = 0
		}
	case 51:
		b[1] = byte(f.r.IntN(4)) // of 4 bytes, less 2
		return append(b, bytes(f.r, 4*int(b[1]))...)
	default:
		b[1] = byte(f.r.IntN(3))
		if chance(f.r, 2) {
			b[1] = byte(f.r.Uint32()) // further than the packet reaches
			return b
		}
		return append(b, bytes(f.r, 8*int(b[1]))...)
	}
	return b
}

// transport makes a header of a protocol with some bytes behind it.
func (f *frame) transport(proto uint8) []byte {
	b := bytes(f.r, 40)
	switch proto {
	case 6, 17, 132:
		binary.BigEndian.PutUint16(b[0:], randomPort(f.r))
		binary.BigEndian.PutUint16(b[2:], randomPort(f.r))
	}
	switch proto {
	case 6:
		b[12] = 5 << 4
		if chance(f.r, 10) {
			b[12] = byte(f.r.Uint32())
		}
		b[13] = 2
		if chance(f.r, 30) {
			b[13] = byte(f.r.Uint32())
		}
		if chance(f.r, 30) {
			f.segmentSize(b)
		}
	case 58:
		b[0] = pick(f.r, []uint8{128, 128, 128, 129, 1, 2, 3, 4, 139, 140, 144, 200, 130, 134, 135, 136, 137, 143})
	case 1:
		b[0] = pick(f.r, []uint8{8, 0, 3, 11, 13, 5})
	}
	if chance(f.r, 3) {
		b = b[:f.r.IntN(21)]
	}
	return b
}

// segmentSize puts a maximum segment size (RFC 9293, 3.7.1) among a segment's options,
// behind others that a SYN has or may have; one that is not whole, now and then.
func (f *frame) segmentSize(b []byte) {
	options := pick(f.r, [][]byte{{}, {1}, {1, 1, 1}, {4, 2}, {3, 3, 7}, {8, 10, 1, 2, 3, 4, 5, 6, 7, 8}, {253, 3, 1, 1}, {0}, {9, 1}})
	size := pick(f.r, []uint16{0, 536, 1220, 1221, 1360, 1400, 1440, 9000, 65535})
	options = slices.Concat(options, binary.BigEndian.AppendUint16([]byte{2, pick(f.r, []byte{4, 4, 4, 4, 4, 4, 3, 0})}, size))
	n := copy(b[20:], options)
	words := (20 + n + 3) / 4
	for i := 20 + n; i < 4*words && i < len(b); i++ {
		b[i] = byte(f.r.IntN(2)) // end, or no operation
	}
	b[12] = byte(words-f.r.IntN(2)) << 4 // perhaps it ends before
}
