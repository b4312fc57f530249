package policy

import (
	"encoding/binary"
	"net/netip"
)

// What a frame says, read plainly from its bytes. Everything that cannot be read
// in full is refused: a header must be whole before anything in it counts.

type fragmentKind int

const (
	notFragmented fragmentKind = iota
	firstFragment
	laterFragment // has no transport header
)

// packet is a frame that could be read. Fields that its protocol does not have
// are zero.
type packet struct {
	frame     []byte
	toMAC     [6]byte
	fromMAC   [6]byte
	tags      int
	vlan      uint16 // of the outermost tag
	etherType uint16
	network   int // where the IP header begins
	length    int // of the IP packet
	source    netip.Addr
	dest      netip.Addr
	hopLimit  uint8
	proto     uint8
	fragment  fragmentKind
	transport int // where the transport header begins
	sport     uint16
	dport     uint16
	flags     uint8 // TCP
	icmpType  uint8
	icmpCode  uint8
}

// readFrame reads an Ethernet frame, or says why it cannot.
func readFrame(frame []byte) (*packet, Reason) {
	p := &packet{frame: frame, network: etherHeader}
	if len(frame) < etherHeader {
		return p, Malformed
	}
	copy(p.toMAC[:], frame[0:6])
	copy(p.fromMAC[:], frame[6:12])
	p.etherType = be16(frame, 12)
	for p.etherType == etherVLAN || p.etherType == etherQinQ {
		if p.tags == mostTags {
			return p, VLAN
		}
		if len(frame) < p.network+4 {
			return p, Malformed
		}
		if p.tags == 0 {
			p.vlan = be16(frame, p.network) & 0xfff
		}
		p.etherType = be16(frame, p.network+2)
		p.network += 4
		p.tags++
	}
	switch p.etherType {
	case etherIPv6:
		return p, p.readIPv6()
	case etherIPv4:
		return p, p.readIPv4()
	}
	return p, None
}

// readPacket reads an IP packet that comes without a link header.
func readPacket(b []byte) (*packet, Reason) {
	p := &packet{frame: b}
	if len(b) == 0 {
		return p, Malformed
	}
	switch b[0] >> 4 {
	case 6:
		p.etherType = etherIPv6
		return p, p.readIPv6()
	case 4:
		p.etherType = etherIPv4
		return p, p.readIPv4()
	}
	return p, Malformed
}

// readIPv6 reads RFC 8200's header and what follows it.
func (p *packet) readIPv6() Reason {
	b := p.frame[p.network:]
	if len(b) < ipv6Header || b[0]>>4 != 6 {
		return Malformed
	}
	p.length = ipv6Header + int(be16(b, 4))
	if p.length > len(b) {
		return Malformed
	}
	p.proto, p.hopLimit = b[6], b[7]
	p.source, p.dest = address16(b[8:24]), address16(b[24:40])

	after, reason := p.skipExtensions(p.network + ipv6Header)
	if reason != None {
		return reason
	}
	if after > p.network+p.length {
		return Malformed
	}
	if after > deepestTransport {
		return ExtensionHeaders
	}
	if p.fragment == laterFragment {
		return None
	}
	return p.readTransport(after)
}

// skipExtensions goes from header to header and gives where the transport header
// begins; p.proto is then its protocol. Extension headers may be read from what
// pads the frame, since the packet is refused then anyway.
func (p *packet) skipExtensions(at int) (int, Reason) {
	for seen := 0; ; seen++ {
		if !isExtension(p.proto) {
			return at, None
		}
		if seen == mostExtensions {
			return at, ExtensionHeaders
		}
		if p.proto == protoFragment {
			if len(p.frame) < at+8 {
				return at, Malformed
			}
			if p.fragment != notFragmented {
				return at, ExtensionHeaders
			}
			offset, more := int(be16(p.frame, at+2)&0xfff8), p.frame[at+3]&1 != 0
			p.proto = p.frame[at]
			at += 8
			switch {
			case offset >= leastLaterOffset:
				p.fragment = laterFragment
				return at, None
			case offset > 0:
				return at, FragmentOverlap
			case more:
				p.fragment = firstFragment
			} // else atomic, an ordinary packet: RFC 6946
			continue
		}
		if p.proto == protoHopByHop && seen > 0 { // RFC 8200, 4.1: only the first
			return at, ExtensionHeaders
		}
		if len(p.frame) < at+4 {
			return at, Malformed
		}
		if p.proto == protoRouting && p.frame[at+3] != 0 { // segments left
			return at, ExtensionHeaders
		}
		size := 8 * (int(p.frame[at+1]) + 1)
		if p.proto == protoAH { // RFC 4302, 2.2
			size = 4 * (int(p.frame[at+1]) + 2)
		}
		p.proto = p.frame[at]
		at += size
	}
}

func isExtension(proto uint8) bool {
	switch proto {
	case protoHopByHop, protoRouting, protoFragment, protoAH, protoDstOptions:
		return true
	}
	return false
}

// readIPv4 reads RFC 791's header and what follows it.
func (p *packet) readIPv4() Reason {
	b := p.frame[p.network:]
	if len(b) < smallestIPv4 || b[0]>>4 != 4 {
		return Malformed
	}
	header := 4 * int(b[0]&0xf)
	p.length = int(be16(b, 2))
	if header < smallestIPv4 || p.length < header || p.length > len(b) {
		return Malformed
	}
	p.source, p.dest = address4(b[12:16]), address4(b[16:20])
	p.hopLimit, p.proto = b[8], b[9]
	offset, more := 8*int(be16(b, 6)&0x1fff), b[6]&0x20 != 0
	switch {
	case offset >= leastLaterOffset:
		p.fragment = laterFragment
		return None
	case offset > 0:
		return FragmentOverlap
	case more:
		p.fragment = firstFragment
	}
	return p.readTransport(p.network + header)
}

// readTransport reads as much of the transport header as verdicts need; all of
// it lies inside the IP packet.
func (p *packet) readTransport(at int) Reason {
	p.transport = at
	b := p.frame[at : p.network+p.length]
	least := map[uint8]int{protoTCP: 20, protoUDP: 8, protoSCTP: 12, protoICMP: 8, protoICMPv6: 8}[p.proto]
	if len(b) < least {
		return Malformed
	}
	switch p.proto {
	case protoTCP:
		if header := 4 * int(b[12]>>4); header < 20 || header > len(b) {
			return Malformed
		}
		p.flags = b[13] & 0x3f
		p.sport, p.dport = be16(b, 0), be16(b, 2)
	case protoUDP, protoSCTP:
		p.sport, p.dport = be16(b, 0), be16(b, 2)
	case protoICMP, protoICMPv6:
		p.icmpType, p.icmpCode = b[0], b[1]
		p.dport = uint16(p.icmpType)
		if p.isQuery() {
			p.sport, p.dport = be16(b, 4), be16(b, 4)
		}
	}
	return None
}

// rulePort gives what rules compare with `ports`: the destination port, or the
// ICMPv6 type.
func (p *packet) rulePort() uint16 {
	if p.proto == protoICMPv6 {
		return uint16(p.icmpType)
	}
	return p.dport
}

func be16(b []byte, at int) uint16 { return binary.BigEndian.Uint16(b[at:]) }

func address16(b []byte) netip.Addr { return netip.AddrFrom16([16]byte(b)) }

func address4(b []byte) netip.Addr { return netip.AddrFrom4([4]byte(b)) }
