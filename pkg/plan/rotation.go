package plan

import (
	"net/netip"
	"slices"

	"github.com/zosnet/zosnet/pkg/wireguard"
)

// trying is how often a peer is called over the device of its new key until it
// answers, in seconds.
const trying = 1

// Successor is the key that takes the place of a Part's, with a device of its own.
type Successor struct {
	Generation wireguard.Generation
	PublicKey  [32]byte
	Port       uint16 // that the device listens on
}

// Session is what is known of a peer of one of this node's WireGuard devices.
type Session struct {
	Interface   string
	PublicKey   [32]byte
	Established bool // it shook hands within WireGuard's Reject-After-Time, 180 s
	Lost        bool // it should have been heard for a while, and was not
}

// sessions tells over which device which peer answers.
type sessions map[sessionKey]Session

type sessionKey struct {
	device string
	peer   [32]byte
}

func (in Input) sessions() sessions {
	s := make(sessions, len(in.Sessions))
	for _, is := range in.Sessions {
		s[sessionKey{is.Interface, is.PublicKey}] = is
	}
	return s
}

// key gives a part's key of a generation, with its port.
func (p Part) key(g wireguard.Generation) (key [32]byte, port uint16, ok bool) {
	switch {
	case p.Generation == g:
		return p.PublicKey, p.Port, true
	case p.Next != nil && p.Next.Generation == g:
		return p.Next.PublicKey, p.Next.Port, true
	}
	return key, 0, false
}

// lost gives what tells of a peer that should have been heard over one of this node's
// devices, or says that it does not hear this node, and was not heard over any.
func (in Input) lost(own Part, parts []Part, s sessions) func(Peer) bool {
	keys := []wireguard.Generation{own.Generation}
	if own.Next != nil {
		keys = append(keys, own.Next.Generation)
	}
	return func(p Peer) bool {
		part := parts[slices.IndexFunc(parts, func(q Part) bool { return q.Node == p.Node })]
		lost := false
		for _, g := range keys {
			key, _, has := part.key(g)
			is := s[sessionKey{overlayIdentity(in.Node.Name, own.Network, g).interfaceName(overlayKind, own.Network), key}]
			if has && is.Established && !is.Lost {
				return false
			}
			lost = lost || has && is.Lost
		}
		return lost || part.Unheard
	}
}

// generations gives the overlays that a network has here: the one that is given, and
// while the network's key is being changed one more, of the next key, behind it. Each
// has the peers whose node has a key of its generation. Every peer's packets go over
// the old one until it answers over the new one; the old one is needed until the peer
// says that it sends over the new one, too, or has been silent for too long.
func (in Input) generations(o Overlay, own Part, parts []Part, s sessions) (list []Overlay, ignored []Ignored) {
	of := make(map[string]Part, len(parts))
	for _, p := range parts {
		of[p.Node] = p
	}
	all := o.Peers
	o.Generation = own.Generation
	o.Peers, ignored = ofGeneration(o, all, of)
	for _, p := range all {
		_, _, has := of[p.Node].key(own.Generation)
		if own.Next != nil && !has {
			_, _, has = of[p.Node].key(own.Next.Generation)
		}
		if !has {
			ignored = append(ignored, Ignored{partObject(o.Network, p.Node), "its WireGuard key and this node's are not of one generation; the older one is being changed"})
		}
	}
	if own.Next == nil {
		return []Overlay{o}, ignored
	}
	next := o
	next.Generation, next.PublicKey, next.Port = own.Next.Generation, own.Next.PublicKey, own.Next.Port
	next.Interface = overlayIdentity(in.Node.Name, o.Network, next.Generation).interfaceName(overlayKind, o.Network)
	var more []Ignored
	next.Peers, more = ofGeneration(next, all, of)
	o.Heir = next.Interface
	for i := range next.Peers {
		p := &next.Peers[i]
		p.settle(&o, s[sessionKey{next.Interface, p.PublicKey}].Established)
		if p.Keepalive == trying && in.Node.Endpoint.IsValid() && slices.Compare(p.PublicKey[:], next.PublicKey[:]) < 0 {
			p.Keepalive = 0 // that one tries: two handshakes that begin in the same instant come to nothing
		}
	}
	for i := range o.Peers {
		p := &o.Peers[i]
		p.Keepalive = keepalive // so that it is known whether it answers
		silent := own.Overdue && !s[sessionKey{o.Interface, p.PublicKey}].Established
		free := len(p.AllowedIPs) == 0 || silent || p.Standby && of[p.Node].sendsOver(next.Generation)
		if !free {
			o.Needed = append(o.Needed, p.Node)
		}
	}
	return []Overlay{o, next}, append(ignored, more...)
}

// sendsOver tells whether a node says that what it sends to this one goes over its
// next device, of a generation.
func (p Part) sendsOver(g wireguard.Generation) bool {
	return p.Sends && p.Next != nil && p.Next.Generation == g
}

// settle decides over which device what is for a peer of the new one goes.
func (p *Peer) settle(old *Overlay, answers bool) {
	p.Keepalive = keepalive
	if !answers {
		p.Keepalive = trying
	}
	i := slices.IndexFunc(old.Peers, func(q Peer) bool { return q.Node == p.Node })
	switch {
	case i < 0: // it has given its old one up
	case answers:
		old.Peers[i].Standby = true
	default:
		p.Standby = true
	}
}

// ofGeneration gives the peers that have a key of an overlay's generation, with it. No
// two can have one key, nor one this node's own: WireGuard tells them by it.
func ofGeneration(o Overlay, all []Peer, of map[string]Part) (list []Peer, ignored []Ignored) {
	claimed := map[[32]byte]int{o.PublicKey: 1}
	for _, p := range all {
		key, port, has := of[p.Node].key(o.Generation)
		if !has || key == [32]byte{} || port == 0 {
			continue
		}
		p.PublicKey, p.Standby = key, false
		if p.Endpoint.IsValid() {
			p.Endpoint = netip.AddrPortFrom(p.Endpoint.Addr(), port)
		}
		list = append(list, p)
		claimed[key]++
	}
	return slices.DeleteFunc(list, func(p Peer) bool {
		if claimed[p.PublicKey] == 1 {
			return false
		}
		ignored = append(ignored, Ignored{partObject(o.Network, p.Node), "its WireGuard key is another's too"})
		return true
	}), ignored
}
