package underlay

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

const headerLength = ipv6.HeaderLen // bytes

// echoRequest is a whole IPv6 packet: an ICMPv6 echo request (RFC 4443, 4.1), which
// every router lets through if it lets anything through.
func echoRequest(source, target netip.Addr, hops int, id, sequence uint16) []byte {
	message := icmp.Message{Type: ipv6.ICMPTypeEchoRequest, Body: &icmp.Echo{ID: int(id), Seq: int(sequence), Data: make([]byte, 16)}}
	body, err := message.Marshal(icmp.IPv6PseudoHeader(source.AsSlice(), target.AsSlice()))
	if err != nil {
		panic(err) // an echo request has nothing that could be wrong
	}
	packet := make([]byte, headerLength, headerLength+len(body))
	packet[0] = 6 << 4
	binary.BigEndian.PutUint16(packet[4:], uint16(len(body)))
	packet[6], packet[7] = unix.IPPROTO_ICMPV6, byte(hops)
	copy(packet[8:], source.AsSlice())
	copy(packet[24:], target.AsSlice())
	return append(packet, body...)
}

// What was seen of a probe.
const (
	nothing   = iota
	returned  // it came back
	refused   // a router says that it goes no further
	solicited // a router looks for its target on the link
)

type sighting struct {
	kind    int
	uplink  string     // that it came by
	from    netip.Addr // the router
	code    byte       // of Destination Unreachable
	expired bool       // Time Exceeded
}

// look tells what a packet has to do with a probe.
func (v *verification) look(p captured, sent probe) sighting {
	source, target, icmpType, rest, ok := parse(p.bytes)
	if !ok {
		return sighting{}
	}
	switch ipv6.ICMPType(icmpType) {
	case ipv6.ICMPTypeEchoRequest:
		if source == sent.source && target == v.target && v.isOurs(rest) {
			return sighting{kind: returned, uplink: p.uplink}
		}
	case ipv6.ICMPTypeNeighborSolicitation: // RFC 4861, 4.3: four bytes, then the target
		if len(rest) >= 24 && netip.AddrFrom16([16]byte(rest[8:24])) == v.target {
			return sighting{kind: solicited, uplink: p.uplink, from: source}
		}
	case ipv6.ICMPTypeDestinationUnreachable, ipv6.ICMPTypeTimeExceeded: // four bytes, then the packet
		quotedSource, quotedTarget, _, quoted, ok := parse(rest[8:])
		if ok && quotedSource == sent.source && quotedTarget == v.target && v.isOurs(quoted) {
			return sighting{
				kind: refused, uplink: p.uplink, from: source, code: rest[1],
				expired: ipv6.ICMPType(icmpType) == ipv6.ICMPTypeTimeExceeded,
			}
		}
	}
	return sighting{}
}

// isOurs tells whether an echo request is of this verification.
func (v *verification) isOurs(echo []byte) bool {
	return echo[0] == byte(ipv6.ICMPTypeEchoRequest) && binary.BigEndian.Uint16(echo[4:]) == v.id
}

// parse takes an ICMPv6 packet apart; message begins with its type.
func parse(packet []byte) (source, target netip.Addr, icmpType byte, message []byte, ok bool) {
	const shortest = headerLength + 8
	if len(packet) < shortest || packet[0]>>4 != 6 || packet[6] != unix.IPPROTO_ICMPV6 {
		return source, target, 0, nil, false
	}
	source, target = netip.AddrFrom16([16]byte(packet[8:24])), netip.AddrFrom16([16]byte(packet[24:40]))
	return source, target, packet[headerLength], packet[headerLength:], true
}

// The codes of Destination Unreachable (RFC 4443, 3.1).
const (
	codeNoRoute     = 0
	codeUnreachable = 3 // the address: nobody on the link has it
	codeSource      = 5 // failed the policy for sources
)

func findingOf(s sighting) Finding {
	switch {
	case s.expired:
		return Loop
	case s.code == codeNoRoute:
		return NoRoute
	case s.code == codeUnreachable:
		return OnLink
	case s.code == codeSource:
		return SourceFiltered
	}
	return Rejected
}
