package policytest

import (
	"net/netip"

	"github.com/zosnet/zosnet/pkg/policy"
)

// neighbor makes a message of neighbour discovery: one that is right, or with
// one thing in it that is not.
func (f *frame) neighbor(source, dest netip.Addr) (netip.Addr, netip.Addr, uint8, []byte) {
	kind := pick(f.r, []uint8{133, 134, 135, 135, 135, 136, 136, 137})
	hops := uint8(255)
	if chance(f.r, 5) {
		hops = 254
	}
	if chance(f.r, 70) {
		dest = pick(f.r, []netip.Addr{netip.MustParseAddr("ff02::1:ff00:10"), netip.MustParseAddr("ff02::2"),
			netip.MustParseAddr("fe80::1"), f.anyone()})
	}
	b := bytes(f.r, 8)
	b[0], b[1] = kind, 0
	if chance(f.r, 3) {
		b[1] = 1
	}
	if kind == 133 {
		return source, dest, hops, append(b, f.options()...)
	}
	target := make([]byte, 16)
	copy16(target, f.target())
	b = append(append(b, target...), f.options()...)
	if kind == 135 && chance(f.r, 40) { // duplicate address detection
		source = netip.IPv6Unspecified()
	}
	return source, dest, hops, b
}

// anyone gives an address that a workload has.
func (f *frame) anyone() netip.Addr {
	if len(f.w.Bindings) == 0 {
		return netip.IPv6LinkLocalAllNodes()
	}
	return pick(f.r, f.w.Bindings).Address
}

// target gives what a message is about: the sender, somebody else, or an address
// that is free.
func (f *frame) target() netip.Addr {
	switch f.r.IntN(4) {
	case 0:
		return f.own()
	case 1:
		n := pick(f.r, f.w.Networks)
		return withHost(pick(f.r, []netip.Addr{n.Prefix.Addr(), netip.MustParseAddr("fe80::")}), byte(f.r.Uint32()))
	case 2:
		return f.anyone()
	}
	return Address(f.r, f.w)
}

// options gives what follows a message: mostly the sender's own link-layer address.
func (f *frame) options() (b []byte) {
	for range pick(f.r, []int{0, 1, 1, 1, 1, 2, 5}) {
		mac := f.fromMAC
		if chance(f.r, 6) {
			mac = pick(f.r, append(f.w.Ports, policy.Port{})).MAC
		}
		size := byte(1)
		if chance(f.r, 5) {
			size = byte(f.r.IntN(3))
		}
		b = append(b, pick(f.r, []byte{1, 1, 2, 5, 14}), size)
		b = append(b, mac[:]...)
		b = append(b, bytes(f.r, 8*max(0, int(size)-1))...)
	}
	if chance(f.r, 3) {
		b = append(b, bytes(f.r, f.r.IntN(8))...)
	}
	return b
}

// listener makes a message of multicast listening.
func (f *frame) listener(source, dest netip.Addr) (netip.Addr, netip.Addr, uint8, []byte) {
	hops := uint8(1)
	if chance(f.r, 15) {
		hops = 2
	}
	if chance(f.r, 20) {
		source = netip.IPv6Unspecified()
	}
	if chance(f.r, 75) {
		dest = netip.MustParseAddr("ff02::16")
	}
	b := bytes(f.r, 28)
	b[0] = pick(f.r, []uint8{130, 131, 132, 143, 143})
	return source, dest, hops, b
}
