package maps

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// networkOrder gives v as C's __be32: its bytes in memory are big-endian.
func networkOrder(v uint32) uint32 {
	return binary.NativeEndian.Uint32(binary.BigEndian.AppendUint32(nil, v))
}

// networkOrder16 is networkOrder for C's __be16, both ways.
func networkOrder16(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

// decode reads a value's bytes, as the kernel gives them, into a C struct's twin.
func decode(raw []byte, into any) error {
	n, err := binary.Decode(raw, binary.NativeEndian, into)
	if err != nil {
		return fmt.Errorf("decode %T from %d bytes: %w", into, len(raw), err)
	}
	if n != len(raw) {
		return fmt.Errorf("decode %T: %d bytes, wanted %d", into, len(raw), n)
	}
	return nil
}

// mappedBits gives the length of a prefix over 16 bytes: an IPv4 prefix lies in
// ::ffff:0:0/96.
func mappedBits(p netip.Prefix) uint32 {
	if p.Addr().Is4() {
		return 96 + uint32(p.Bits())
	}
	return uint32(p.Bits())
}

// eventBytes is the size of struct event.
var eventBytes = binary.Size(Event{})
