package wireguard

// What WireGuard puts around a packet: an IP header, 8 bytes of UDP, 16 of its own
// header and 16 of Poly1305 (WireGuard whitepaper, section 5.4.6).
const (
	overheadIPv4 = 20 + 8 + 16 + 16
	overheadIPv6 = 40 + 8 + 16 + 16

	// ethernetMTU is what a path is taken to carry, and the most that is asked of
	// one: what lies behind the next hop is not known.
	ethernetMTU = 1500
	// minMTU is what IPv6 asks of every link (RFC 8200, section 5).
	minMTU = 1280
)

// Path is the way to a peer.
type Path struct {
	IPv6 bool // the packets of WireGuard itself
	MTU  int  // bytes; 0: not known
}

// MTU gives that of a device whose packets take these paths: 1420 where one is over
// IPv6 or none is known, else 1440; less where a path carries less, but never under
// 1280, below which the underlay has to fragment.
func MTU(paths ...Path) int {
	if len(paths) == 0 {
		return ethernetMTU - overheadIPv6
	}
	mtu := ethernetMTU
	for _, p := range paths {
		carries, overhead := ethernetMTU, overheadIPv4
		if p.MTU > 0 {
			carries = min(p.MTU, ethernetMTU)
		}
		if p.IPv6 {
			overhead = overheadIPv6
		}
		mtu = min(mtu, carries-overhead)
	}
	return max(mtu, minMTU)
}
