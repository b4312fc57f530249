package policy

// The numbers of the protocols that are read, and the limits within which.
const (
	etherHeader     = 14
	etherIPv4       = 0x0800
	etherARP        = 0x0806
	etherVLAN       = 0x8100 // IEEE 802.1Q
	etherQinQ       = 0x88a8 // IEEE 802.1ad
	etherIPv6       = 0x86dd
	etherSlow       = 0x8809 // IEEE 802.3, annex 57A: LACP
	mostTags        = 2
	mostExtensions  = 6
	ipv6Header      = 40
	smallestIPv4    = 20
	protoHopByHop   = 0
	protoICMP       = 1
	protoTCP        = 6
	protoUDP        = 17
	protoIPv6       = 41
	protoRouting    = 43
	protoFragment   = 44
	protoAH         = 51
	protoICMPv6     = 58
	protoDstOptions = 60
	protoSCTP       = 132

	// A later fragment that begins before this byte could overwrite a TCP header.
	leastLaterOffset = 64

	// Headers must end where they can still be read at once: the transport header
	// begins within the first 300 bytes of the frame.
	deepestTransport = 300
)

// Bits of the TCP header's flags.
const (
	tcpFIN = 1 << iota
	tcpSYN
	tcpRST
	tcpPSH
	tcpACK
	tcpURG
)

// ICMPv6 types (IANA icmpv6-parameters).
const (
	icmpEchoRequest       = 128
	icmpEchoReply         = 129
	icmpListenerQuery     = 130
	icmpListenerReport    = 131
	icmpListenerDone      = 132
	icmpRouterSolicit     = 133
	icmpRouterAdvert      = 134
	icmpNeighborSolicit   = 135
	icmpNeighborAdvert    = 136
	icmpRedirect          = 137
	icmpNodeInfoReply     = 140
	icmpListenerReport2   = 143
	smallestInformational = 128
	ndHopLimit            = 255
	listenerHopLimit      = 1
	ndOptionSource        = 1
	ndOptionTarget        = 2
	mostNDOptions         = 4
	dhcpv4Server          = 67
	dhcpv4Client          = 68
	dhcpv6Client          = 546
	dhcpv6Server          = 547
)
