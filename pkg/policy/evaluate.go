package policy

import "net/netip"

// Ingress is where a frame enters the node.
type Ingress struct {
	Interface uint32 // index of a workload's host-side interface, or of an overlay's
	Uplink    bool   // from the world
	Overlay   bool   // from a network's other nodes: a packet without a link header
}

// Verdict says what becomes of a frame.
type Verdict string

// The verdicts of a Decision.
const (
	Drop       Verdict = "drop"
	ToStack    Verdict = "stack"    // the kernel's own stack does it: ND, MLD, the gateway, and what the fast path cannot
	ToWorkload Verdict = "workload" // straight into the receiver's interface
	ToWorld    Verdict = "world"    // out of an uplink
	ToOverlay  Verdict = "overlay"  // to the receiver's node
)

// Decision is what becomes of a flow's first frame, and why.
type Decision struct {
	Verdict Verdict
	Reason  Reason
	Network string   // whose drop it is counted as; empty: nobody's
	Rulings []Ruling // what rules said, in the order in which they were asked
	From    Endpoint
	To      Endpoint
	Claim   netip.Addr // address that the sender now has, by its DAD
	Early   bool       // lockdown says so, before the stack sees the frame
	Fields  Fields
}

// Fields is what the frame's flow is known by.
type Fields struct {
	Source, Dest netip.Addr
	Proto        uint8
	Sport, Dport uint16 // ICMP query: its identifier in both; else the type in Dport
	First        bool   // a first fragment
	SYN          bool
}

// Evaluate says what a node does with a frame that belongs to no flow that it
// knows, when no fragment came before it. It is the oracle that the datapath is
// tested against: the frame is read and judged step by step, each step as
// DESIGN says it, and nothing is precomputed.
func (w *World) Evaluate(in Ingress, frame []byte) Decision {
	if in.Overlay {
		p, reason := readPacket(frame)
		return w.fromOverlay(in.Interface, p, reason)
	}
	p, reason := readFrame(frame)
	if in.Uplink {
		return w.fromUplink(p, reason)
	}
	return w.fromWorkload(in.Interface, p, reason)
}

// fromWorkload judges what a workload sends.
func (w *World) fromWorkload(index uint32, p *packet, unreadable Reason) Decision {
	port, ok := w.Port(index)
	if !ok {
		return drop("", UnknownPort)
	}
	n, _ := w.Network(port.Network)
	var reason Reason
	d := Decision{Network: port.Network, Fields: p.fields()}
	switch {
	case unreadable != None:
		return d.drop(unreadable)
	case p.tags > 0:
		return d.drop(VLAN)
	case p.fromMAC != port.MAC:
		return d.drop(SpoofedMAC)
	case p.etherType != etherIPv6:
		return d.drop(NotIPv6)
	case p.isNeighborDiscovery():
		return w.guardNeighbor(d, n, port, p)
	case p.isMulticastListener():
		return w.guardListener(d, port, p)
	case p.isDHCPServer():
		return d.drop(DHCPGuard)
	}

	sender, bound := w.Binding(p.source, port.Network)
	switch {
	case !bound && n.couldHold(p.source):
		return d.drop(UnknownIdentity)
	case !bound || sender.Interface != index:
		return d.drop(SpoofedAddress)
	case isMulticast(p.dest):
		return d.drop(Multicast)
	case p.isError():
		return d.drop(ICMPUnrelated) // no flow, so none that it could be about
	case n.isGateway(p.dest) && p.proto == protoICMPv6 && p.icmpType == icmpEchoRequest:
		return d.toStack()
	case n.isGateway(p.dest):
		return d.drop(Host)
	}
	d.From = sender.endpoint()
	d.To, reason = w.receiver(p, port)
	if reason != None {
		return d.drop(reason)
	}
	return w.start(d, p)
}

// receiver gives who a workload's packet is for: a workload of this node or, in its
// own network, of another, or somebody outside.
func (w *World) receiver(p *packet, port Port) (Endpoint, Reason) {
	to := Endpoint{Address: p.dest}
	b, bound := w.Binding(p.dest, port.Network)
	switch {
	case bound && b.Interface == port.Interface:
		return to, SpoofedAddress // it would come from itself
	case bound && w.isRemote(b) && b.Network != port.Network:
		return to, NoRoute // an overlay carries its own network's packets only
	case bound:
		to = b.endpoint()
	case isLinkLocal(p.dest):
		return to, Unassigned
	case isUnroutable(p.dest):
		return to, NoRoute
	default:
		if reason := w.outsideSpace(p.dest); reason != None {
			return to, reason
		}
	}
	if isLinkLocal(p.source) && (to.Network != port.Network || bound && w.isRemote(b)) {
		return to, NoRoute // RFC 4291, 2.5.6: never forwarded to other links
	}
	return to, None
}

// outsideSpace refuses an address of this node's space that no workload has.
func (w *World) outsideSpace(address netip.Addr) Reason {
	switch {
	case containsAny(w.NodeOwn, address):
		return Host
	case containsAny(w.Space, address):
		return Unassigned
	}
	return None
}

// start judges the first packet of a flow between two ends that are known, and
// sends it on.
func (w *World) start(d Decision, p *packet) Decision {
	if reason := p.cannotStart(); reason != None {
		return d.drop(reason)
	}
	for _, r := range w.Judge(d.From, d.To, p.proto, p.rulePort()) {
		d.Rulings = append(d.Rulings, r)
		if d.Network == "" {
			d.Network = r.Network
		}
		if !r.Entry.Allow {
			return d.drop(r.Side.reason())
		}
	}
	return w.forward(d, p)
}

// cannotStart says what starts no flow, whatever the rules say.
func (p *packet) cannotStart() Reason {
	has := func(flags uint8) bool { return p.flags&flags != 0 }
	switch {
	case p.fragment == laterFragment:
		return FragmentWithoutFirst
	case p.proto == protoICMPv6 && (p.icmpType == icmpEchoReply || p.icmpType == icmpNodeInfoReply):
		return ICMPNoQuery
	case p.proto != protoTCP:
		return None
	case !has(tcpSYN | tcpRST | tcpACK), has(tcpSYN) && has(tcpFIN|tcpRST), has(tcpFIN) && !has(tcpACK):
		return TCPFlags
	case has(tcpRST), has(tcpSYN) && has(tcpACK):
		return TCPState
	}
	return None // a SYN, or a flow picked up in the middle
}

// forward sends an allowed packet to its receiver. Between networks and nodes, and
// to and from the world, it is routed: the hop limit counts down.
func (w *World) forward(d Decision, p *packet) Decision {
	to := ToWorkload
	n, here := w.Network(d.To.Network)
	mtu := n.MTU
	if !here {
		r := w.route(p.dest)
		switch {
		case r.Local:
			return d.drop(Host)
		case !r.Uplink:
			return d.drop(NoRoute)
		}
		to, mtu = ToWorld, r.MTU
	}
	_, fromOverlay := w.overlayTo(d.From)
	overlay, toOverlay := w.overlayTo(d.To)
	if toOverlay {
		to, mtu = ToOverlay, overlay.MTU
	}
	routed := d.From.Network != d.To.Network || fromOverlay || toOverlay
	switch {
	case routed && p.hopLimit <= 1 && d.From.Network == "":
		return d.drop(HopLimit) // strangers are told nothing
	case routed && p.hopLimit <= 1, p.length > mtu:
		return d.toStack() // which says so to the sender
	}
	d.Verdict = to
	return d
}

func (p *packet) fields() Fields {
	return Fields{
		Source: p.source, Dest: p.dest, Proto: p.proto, Sport: p.sport, Dport: p.dport,
		First: p.fragment == firstFragment, SYN: p.proto == protoTCP && p.flags&(tcpSYN|tcpACK) == tcpSYN,
	}
}

func drop(network string, reason Reason) Decision {
	return Decision{Verdict: Drop, Network: network, Reason: reason}
}

func (d Decision) drop(reason Reason) Decision {
	d.Verdict, d.Reason = Drop, reason
	return d
}

func (d Decision) toStack() Decision {
	d.Verdict = ToStack
	return d
}
