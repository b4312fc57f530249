package policy

// isError says whether an ICMP message is about another packet.
func (p *packet) isError() bool {
	switch {
	case p.fragment == laterFragment:
		return false
	case p.proto == protoICMPv6:
		return p.icmpType < smallestInformational
	case p.proto == protoICMP: // RFC 792: unreachable, time exceeded, parameter problem
		return p.icmpType == 3 || p.icmpType == 11 || p.icmpType == 12
	}
	return false
}

// isQuery says whether an ICMP message has an identifier that its answer repeats.
func (p *packet) isQuery() bool {
	if p.proto == protoICMPv6 {
		return p.icmpType == icmpEchoRequest || p.icmpType == icmpEchoReply
	}
	switch p.icmpType { // RFC 792: echo and timestamp, and their replies
	case 0, 8, 13, 14:
		return true
	}
	return false
}

func (p *packet) isNeighborDiscovery() bool {
	return p.proto == protoICMPv6 && isNeighborDiscovery(p.icmpType)
}

func (p *packet) isMulticastListener() bool {
	return p.proto == protoICMPv6 && isMulticastListener(p.icmpType)
}

// isNeighborDiscovery says whether a type is one of RFC 4861's.
func isNeighborDiscovery(icmpType uint8) bool {
	return icmpType >= icmpRouterSolicit && icmpType <= icmpRedirect
}

// isMulticastListener says whether a type is one of RFC 2710's or RFC 3810's.
func isMulticastListener(icmpType uint8) bool {
	return icmpType >= icmpListenerQuery && icmpType <= icmpListenerDone || icmpType == icmpListenerReport2
}
