package policy

// Overlay gives the overlay on an interface.
func (w *World) Overlay(index uint32) (Overlay, bool) {
	for _, o := range w.Overlays {
		if o.Interface == index {
			return o, true
		}
	}
	return Overlay{}, false
}

// isRemote says whether a binding is of a workload on another node.
func (w *World) isRemote(b Binding) bool {
	_, remote := w.Overlay(b.Interface)
	return remote
}

// overlayTo gives the overlay behind which an end is, if it is on another node.
func (w *World) overlayTo(e Endpoint) (Overlay, bool) {
	b, bound := w.Binding(e.Address, e.Network)
	if !bound {
		return Overlay{}, false
	}
	return w.Overlay(b.Interface)
}

// fromOverlay judges what comes from a network's other nodes: their workloads', for
// workloads of the same network here or, where this node is a relay, on others.
func (w *World) fromOverlay(index uint32, p *packet, unreadable Reason) Decision {
	o, ok := w.Overlay(index)
	if !ok {
		return drop("", UnknownPort)
	}
	d := Decision{Network: o.Network, Fields: p.fields()}
	switch {
	case unreadable != None:
		return d.drop(unreadable)
	case p.etherType != etherIPv6:
		return d.drop(NotIPv6)
	case p.isNeighborDiscovery(): // RFC 4890, 4.3.4: never leaves its link
		return d.drop(NDGuard)
	case p.isMulticastListener(), isMulticast(p.dest):
		return d.drop(Multicast)
	}
	var reason Reason
	if d.From, reason = w.remoteSender(o, p); reason != None {
		return d.drop(reason)
	}
	if w.pingsGateway(o, p) {
		return d.toStack()
	}
	if d.To, reason = w.overlayReceiver(o, p); reason != None {
		return d.drop(reason)
	}
	if p.isError() {
		return d.drop(ICMPUnrelated) // no flow, so none that it could be about
	}
	return w.start(d, p)
}

// remoteSender gives whose a packet of an overlay is. An error may come from a router
// on the way, whose address is nobody's.
func (w *World) remoteSender(o Overlay, p *packet) (Endpoint, Reason) {
	from, bound := w.Binding(p.source, "")
	switch {
	case isBogusSource(p), !bound && w.outsideSpace(p.source) != None:
		return Endpoint{}, SpoofedAddress
	case bound && (from.Network != o.Network || !w.isRemote(from)):
		return Endpoint{}, SpoofedAddress
	case bound:
		return from.endpoint(), None
	case p.isError():
		return Endpoint{}, None
	}
	return Endpoint{}, UnknownIdentity
}

// pingsGateway says whether an access device asks for its gateway's answer.
func (w *World) pingsGateway(o Overlay, p *packet) bool {
	n, _ := w.Network(o.Network)
	return o.Entrance && p.proto == protoICMPv6 && p.icmpType == icmpEchoRequest && p.dest == n.Gateway
}

// overlayReceiver gives which workload a packet of an overlay is for.
func (w *World) overlayReceiver(o Overlay, p *packet) (Endpoint, Reason) {
	n, _ := w.Network(o.Network)
	to, bound := w.Binding(p.dest, "")
	switch {
	case isLinkLocal(p.dest), bound && (to.Network != o.Network || w.isRemote(to) && !o.Relay):
		return Endpoint{}, NoRoute
	case bound && p.dest == p.source:
		return Endpoint{}, SpoofedAddress // it would come from itself
	case bound:
		return to.endpoint(), None
	case n.isGateway(p.dest):
		return Endpoint{}, Host
	case w.outsideSpace(p.dest) != None:
		return Endpoint{}, w.outsideSpace(p.dest)
	}
	return Endpoint{}, NoRoute
}
