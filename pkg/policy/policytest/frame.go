package policytest

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"

	"github.com/zosnet/zosnet/pkg/policy"
)

// Frame gives a frame and where it enters: mostly the first packet of a flow
// between ends that exist, with whatever else can stand in a frame among them
// (extension headers, fragments, neighbour discovery, tags, truncation, garbage).
func Frame(r *rand.Rand, w *policy.World, shape Shape) (policy.Ingress, []byte) {
	f := &frame{r: r, w: w}
	f.enter(shape)
	switch n := r.IntN(100); {
	case n < 2:
		return f.in, garbage(r)
	case n < 5 && !f.in.Overlay:
		f.foreign()
	case n < 10:
		f.ipv4()
	default:
		f.ipv6()
	}
	if f.in.Overlay {
		return f.in, f.damage(f.packet)
	}
	f.tag()
	return f.in, f.damage(f.framed())
}

// frame is one while it is put together: the Ethernet header's fields, and the
// bytes behind it.
type frame struct {
	r         *rand.Rand
	w         *policy.World
	in        policy.Ingress
	port      policy.Port // where the frame enters, if by a workload's interface
	toMAC     [6]byte
	fromMAC   [6]byte
	tags      []byte
	etherType uint16
	packet    []byte
}

// enter chooses where the frame enters, and whose MAC it bears.
func (f *frame) enter(shape Shape) {
	f.toMAC = [6]byte{0x33, 0x33, 0, 0, 0, 1}
	if chance(f.r, 35) {
		f.in = policy.Ingress{Uplink: true}
		f.fromMAC = [6]byte{2, 0xff, 0, 0, 0, 1}
		return
	}
	if chance(f.r, 35) && len(shape.Overlays) > 0 {
		f.in = policy.Ingress{Overlay: true, Interface: pick(f.r, shape.Overlays).Interface} // perhaps of no network
		if len(f.w.Overlays) > 0 && chance(f.r, 97) {
			f.in.Interface = pick(f.r, f.w.Overlays).Interface
		}
		return
	}
	f.in = policy.Ingress{Interface: pick(f.r, f.w.Ports).Interface}
	if chance(f.r, 2) {
		f.in.Interface = pick(f.r, shape.Ports) // perhaps of no workload
	}
	f.port, _ = f.w.Port(f.in.Interface)
	f.fromMAC = f.port.MAC
	if chance(f.r, 3) {
		f.fromMAC = pick(f.r, append(f.w.Ports, policy.Port{MAC: [6]byte{2, 9, 9, 9, 9, 9}})).MAC
	}
}

// dest gives where a flow goes that can begin here: seldom another link's address.
func (f *frame) dest(source netip.Addr) netip.Addr {
	if o, ok := f.w.Overlay(f.in.Interface); ok && chance(f.r, 5) {
		n, _ := f.w.Network(o.Network)
		return n.Gateway
	}
	for {
		dest := Address(f.r, f.w)
		sameScope := dest.IsLinkLocalUnicast() == source.IsLinkLocalUnicast()
		toTenant := Space.Contains(dest) || f.in.Overlay && Beyond.Contains(dest) || !f.in.Uplink && !f.in.Overlay
		if sameScope && toTenant || chance(f.r, 10) {
			return dest
		}
	}
}

// own gives an address of the port's workload, or of one behind an overlay of the
// network, or, of an uplink, of the world.
func (f *frame) own() netip.Addr {
	if f.in.Uplink {
		return pick(f.r, strangers)
	}
	entered, _ := f.w.Overlay(f.in.Interface)
	var list []netip.Addr
	for _, b := range f.w.Bindings {
		o, remote := f.w.Overlay(b.Interface)
		if b.Interface == f.in.Interface || remote && o.Network == entered.Network {
			list = append(list, b.Address)
		}
	}
	if len(list) == 0 {
		return pick(f.r, strangers)
	}
	return pick(f.r, list)
}

func (f *frame) source() netip.Addr {
	if chance(f.r, 92) {
		return f.own()
	}
	return Address(f.r, f.w)
}

// garbage is anything at all.
func garbage(r *rand.Rand) []byte {
	b := make([]byte, 14+r.IntN(120))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// foreign puts something else than IP into the frame.
func (f *frame) foreign() {
	f.etherType = pick(f.r, []uint16{0x0806, 0x8809, 0x88cc, 0x0000, 0x05ff, 0x8863, uint16(f.r.Uint32())})
	if f.etherType == 0x8809 && chance(f.r, 50) {
		f.toMAC = [6]byte{0x01, 0x80, 0xc2, 0, 0, 2}
	}
	f.packet = bytes(f.r, f.r.IntN(60))
}

// tag puts VLAN tags before the packet, now and then.
func (f *frame) tag() {
	if !chance(f.r, 4) {
		return
	}
	for range 1 + f.r.IntN(3) {
		f.tags = binary.BigEndian.AppendUint16(f.tags, pick(f.r, []uint16{0x8100, 0x88a8}))
		control := uint16(f.r.Uint32())
		if chance(f.r, 50) {
			control &^= 0xfff // VLAN 0: a priority only
		}
		f.tags = binary.BigEndian.AppendUint16(f.tags, control)
	}
}

// framed gives the packet behind its Ethernet header.
func (f *frame) framed() []byte {
	b := append([]byte(nil), f.toMAC[:]...)
	b = append(b, f.fromMAC[:]...)
	b = append(b, f.tags...)
	b = binary.BigEndian.AppendUint16(b, f.etherType)
	return append(b, f.packet...)
}

// damage cuts off some bytes, changes some or adds some, now and then.
func (f *frame) damage(b []byte) []byte {
	switch n := f.r.IntN(100); {
	case n < 3:
		b = b[:14+f.r.IntN(len(b)-13)]
	case n < 6:
		for range 1 + f.r.IntN(3) {
			b[f.r.IntN(len(b))] = byte(f.r.Uint32())
		}
	case n < 12:
		b = append(b, bytes(f.r, f.r.IntN(40))...)
	}
	return b
}

func bytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}
