package policy

import "net/netip"

// What a workload may say in neighbour discovery and multicast listening, which
// rules have no say about: it solicits, and speaks for itself only.

// guardNeighbor judges a message of RFC 4861.
func (w *World) guardNeighbor(d Decision, n Network, port Port, p *packet) Decision {
	switch {
	case p.icmpType == icmpRouterAdvert:
		return d.drop(RAGuard)
	case p.icmpType == icmpRedirect:
		return d.drop(RedirectGuard)
	case p.hopLimit != ndHopLimit, p.icmpCode != 0, p.fragment != notFragmented: // RFC 6980: no fragments
		return d.drop(NDGuard)
	case !p.source.IsUnspecified() && !w.has(port, p.source):
		return d.drop(NDGuard)
	case !w.onLink(n, p.dest):
		return d.drop(NDGuard)
	}
	message := p.frame[p.transport : p.network+p.length]
	if p.icmpType == icmpRouterSolicit {
		return d.toStackIf(speaksForItself(message[8:], port))
	}
	if len(message) < 24 {
		return d.drop(Malformed)
	}
	target := address16(message[8:24])
	switch {
	case isMulticast(target), !speaksForItself(message[24:], port):
		return d.drop(NDGuard)
	case p.icmpType == icmpNeighborSolicit && p.source.IsUnspecified():
		return w.claim(d, n, port, target)
	case p.icmpType == icmpNeighborSolicit:
		return d.toStack()
	}
	return d.toStackIf(!p.source.IsUnspecified() && w.has(port, target))
}

// has says whether an address is the port's workload's.
func (w *World) has(port Port, address netip.Addr) bool {
	b, bound := w.Binding(address, port.Network)
	return bound && b.Interface == port.Interface
}

// onLink says whether an address is on the network's own link, so that no router
// takes it further.
func (w *World) onLink(n Network, address netip.Addr) bool {
	return isMulticast(address) || isLinkLocal(address) || n.Prefix.Contains(address)
}

// claim judges duplicate address detection (RFC 4862, 5.4), which is how a VM
// takes an address: first come, as many as it may.
func (w *World) claim(d Decision, n Network, port Port, address netip.Addr) Decision {
	b, bound := w.Binding(address, port.Network)
	learned := 0
	for _, b := range w.Bindings {
		if b.Interface == port.Interface && b.Learned {
			learned++
		}
	}
	switch {
	case bound && b.Interface == port.Interface:
		return d.toStack()
	case bound, !n.isClaimable(address):
		return d.drop(AddressTaken)
	case port.Learnable == 0:
		return d.drop(UnknownIdentity)
	case learned >= port.Learnable:
		return d.drop(BindingLimit)
	}
	d.Claim = address
	return d.toStack()
}

// speaksForItself says whether a message's options (RFC 4861, 4.6) are whole and
// name no link-layer address but the port's.
func speaksForItself(options []byte, port Port) bool {
	for range mostNDOptions {
		if len(options) == 0 {
			return true
		}
		if len(options) < 8 || options[1] == 0 || 8*int(options[1]) > len(options) {
			return false
		}
		kind, size := options[0], 8*int(options[1])
		if kind == ndOptionSource || kind == ndOptionTarget {
			if size != 8 || [6]byte(options[2:8]) != port.MAC {
				return false
			}
		}
		options = options[size:]
	}
	return len(options) == 0
}

// guardListener judges a message of RFC 2710 or RFC 3810: a workload reports the
// groups that it is in, to its own link.
func (w *World) guardListener(d Decision, port Port, p *packet) Decision {
	if p.icmpType == icmpListenerQuery || p.hopLimit != listenerHopLimit || !isMulticast(p.dest) ||
		p.fragment != notFragmented {
		return d.drop(Multicast)
	}
	if !p.source.IsUnspecified() && !w.has(port, p.source) {
		return d.drop(SpoofedAddress)
	}
	return d.toStack()
}

// isDHCPServer says whether a packet is what a DHCPv6 server says to a client,
// whatever port it says it from (RFC 7610, 3).
func (p *packet) isDHCPServer() bool {
	return p.proto == protoUDP && p.fragment != laterFragment && p.dport == dhcpv6Client
}

func (d Decision) toStackIf(allowed bool) Decision {
	if !allowed {
		return d.drop(NDGuard)
	}
	return d.toStack()
}
