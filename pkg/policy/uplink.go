package policy

// fromUplink judges what comes from the world: for a tenant's workload by rules,
// for the host by lockdown.
func (w *World) fromUplink(p *packet, unreadable Reason) Decision {
	d := Decision{Fields: p.fields()}
	switch {
	case unreadable != None:
		d.Early = true
		return d.drop(unreadable)
	case p.etherType != etherIPv6 || !containsAny(w.Space, p.dest) || containsAny(w.NodeOwn, p.dest):
		return w.lockdown(d, p)
	}
	to, bound := w.Binding(p.dest, "")
	if !bound || w.isRemote(to) {
		return d.drop(Unassigned)
	}
	from, known := w.Binding(p.source, "")
	d.Network = to.Network
	switch {
	case p.tags > 1, p.tags > 0 && p.vlan != 0: // VLAN 0 is only a priority (IEEE 802.1Q, 9.6)
		return d.drop(VLAN)
	case isBogusSource(p) || containsAny(w.Space, p.source) || containsAny(w.NodeOwn, p.source):
		return d.drop(SpoofedAddress)
	case known && from.Network == to.Network: // it would come by the overlay
		return d.drop(SpoofedAddress)
	case p.isNeighborDiscovery(): // RFC 4890, 4.3.4: never leaves its link
		return d.drop(NDGuard)
	case p.isMulticastListener():
		return d.drop(Multicast)
	case p.isError():
		return d.drop(ICMPUnrelated)
	}
	d.From, d.To = Endpoint{Address: p.source}, to.endpoint()
	return w.start(d, p)
}

// isBogusSource says whether a source can have sent nothing from outside:
// unspecified, loopback, IPv4-mapped, link-local or multicast.
func isBogusSource(p *packet) bool {
	return isUnroutable(p.source) || isLinkLocal(p.source) || isMulticast(p.source)
}

// lockdown judges what is for the host, when the host itself has said nothing
// before: what keeps its link working, and what the failsafe allows.
func (w *World) lockdown(d Decision, p *packet) Decision {
	d.Early = true
	switch {
	case p.etherType == etherARP, p.isLACP():
		return d.toStack()
	case p.etherType != etherIPv4 && p.etherType != etherIPv6:
		return d.drop(Lockdown)
	case p.etherType == etherIPv6 && p.source.Is4In6(): // nothing that is real comes from there
		return d.drop(Lockdown)
	case p.fragment == laterFragment:
		return d.drop(FragmentWithoutFirst)
	case w.failsafeAllows(p), p.isLinkControl():
		return d.toStack()
	case p.isDHCPAnswer():
		return d.drop(DHCPUnsolicited)
	}
	return d.drop(Lockdown)
}

// failsafeAllows says whether lockdown.allow lets the sender in.
func (w *World) failsafeAllows(p *packet) bool {
	for _, allow := range w.Lockdown {
		for _, ports := range allow.Ports {
			portMatches := ports.Any || ports.Proto == p.proto && ports.First <= p.dport && p.dport <= ports.Last
			if allow.From.Contains(p.source) && portMatches {
				return true
			}
		}
	}
	return false
}

// isLinkControl says whether a message is one without which the host would lose
// its address, its router or its neighbours.
func (p *packet) isLinkControl() bool {
	if p.etherType != etherIPv6 || p.proto != protoICMPv6 || p.fragment != notFragmented {
		return false
	}
	fromLink := isLinkLocal(p.source)
	switch p.icmpType {
	case icmpListenerQuery: // RFC 2710, 5
		return p.hopLimit == listenerHopLimit && fromLink
	case icmpNeighborSolicit, icmpNeighborAdvert: // RFC 4861, 7.1
		return p.hopLimit == ndHopLimit && p.icmpCode == 0
	case icmpRouterAdvert: // RFC 4861, 6.1.2
		return p.hopLimit == ndHopLimit && p.icmpCode == 0 && fromLink
	}
	return false
}

// isDHCPAnswer says whether a packet is a DHCP server's to a client.
func (p *packet) isDHCPAnswer() bool {
	if p.proto != protoUDP {
		return false
	}
	if p.etherType == etherIPv4 {
		return p.sport == dhcpv4Server && p.dport == dhcpv4Client
	}
	return p.sport == dhcpv6Server && p.dport == dhcpv6Client
}

func (p *packet) isLACP() bool {
	return p.etherType == etherSlow && p.toMAC == [6]byte{0x01, 0x80, 0xc2, 0, 0, 0x02}
}
