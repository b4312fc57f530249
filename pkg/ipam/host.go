package ipam

import (
	"encoding/binary"
	"errors"
	"math"
	"net/netip"
)

// FirstHost is the lowest host number of a workload. Those below are the
// network's own: 1 is its gateway.
const FirstHost uint32 = 0x100

const gatewayHost uint32 = 1

// AllocateHost gives the lowest workload host number that used does not claim.
func AllocateHost(used func(uint32) bool) (uint32, error) {
	for n := FirstHost; n < math.MaxUint32; n++ {
		if !used(n) {
			return n, nil
		}
	}
	return 0, errors.New("allocate a host number: every one of the network is attached; detach a workload")
}

// Address is PREFIX::host, the address of that host number in a /64.
func Address(prefix netip.Prefix, host uint32) netip.Addr {
	raw := prefix.Masked().Addr().As16()
	binary.BigEndian.PutUint64(raw[8:], uint64(host))
	return netip.AddrFrom16(raw)
}

// Gateway is PREFIX::1, the address of a network's bridge.
func Gateway(prefix netip.Prefix) netip.Addr { return Address(prefix, gatewayHost) }
