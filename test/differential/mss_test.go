package differential

import "encoding/binary"

// clampMSS lowers the maximum segment size of a SYN (RFC 9293, 3.7.1) to what an
// overlay takes, and keeps its checksum right. The packet has no link header.
func clampMSS(packet []byte, mtu int) {
	at, end := tcpOptions(packet)
	for at+4 <= end {
		switch kind, length := packet[at], int(packet[at+1]); {
		case kind == 1: // no operation
			at++
			continue
		case kind == 0 || length < 2 || kind == 2 && length != 4:
			return
		case kind == 2:
			if binary.BigEndian.Uint16(packet[at+2:]) > uint16(mtu-60) {
				setSize(packet, at+2, uint16(mtu-60))
			}
			return
		default:
			at += length
		}
	}
}

// tcpOptions gives where the options of a packet's TCP header begin and end, if it is
// a SYN that can be read.
func tcpOptions(packet []byte) (at, end int) {
	const fragment, hopByHop, routing, auth, options = 44, 0, 43, 51, 60
	proto, at := packet[6], 40
	for {
		switch proto {
		case hopByHop, routing, options:
			proto, at = packet[at], at+8*(int(packet[at+1])+1)
		case auth:
			proto, at = packet[at], at+4*(int(packet[at+1])+2)
		case fragment:
			if binary.BigEndian.Uint16(packet[at+2:])>>3 != 0 {
				return 0, 0
			}
			proto, at = packet[at], at+8
		case 6:
			if packet[at+13]&2 == 0 {
				return 0, 0
			}
			return at + 20, at + 4*int(packet[at+12]>>4)
		default:
			return 0, 0
		}
	}
}

// setSize writes a field, and its difference into the checksum (RFC 1624, 3).
func setSize(packet []byte, at int, value uint16) {
	begin, _ := tcpOptions(packet)
	before := wordsOf(packet[begin : at+2])
	binary.BigEndian.PutUint16(packet[at:], value)
	after := wordsOf(packet[begin : at+2])
	sum := packet[begin-4 : begin-2]
	total := uint64(^binary.BigEndian.Uint16(sum)) + after + 0xffff*before - before
	for total>>16 != 0 {
		total = total&0xffff + total>>16
	}
	binary.BigEndian.PutUint16(sum, ^uint16(total))
}

// wordsOf sums 16-bit words, the last one filled up.
func wordsOf(b []byte) (sum uint64) {
	for i, v := range b {
		sum += uint64(v) << (8 * (1 - i%2))
	}
	return sum
}
