package policytest

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/zosnet/zosnet/pkg/policy"
	"github.com/zosnet/zosnet/pkg/spec"
)

// The node's address space, and hosts of the world.
var (
	Space   = netip.MustParsePrefix("2001:db8:100::/48")
	NodeOwn = netip.MustParsePrefix("2001:db8:100::/64")

	strangers = []netip.Addr{
		netip.MustParseAddr("2001:db8:77::1"), netip.MustParseAddr("2001:db8:77:1::5"),
		netip.MustParseAddr("2001:db8:77:1::6"), netip.MustParseAddr("2001:db8:78::1"),
		netip.MustParseAddr("2001:db8:79::1"), netip.MustParseAddr("2600::1"), netip.MustParseAddr("2001:db8:9::9"),
	}
	// Addresses that are something of their own in one way or another.
	oddities = []netip.Addr{
		netip.MustParseAddr("::"), netip.MustParseAddr("::1"), netip.MustParseAddr("::ffff:203.0.113.5"),
		netip.MustParseAddr("fe80::1"), netip.MustParseAddr("fe80::10"), netip.MustParseAddr("ff02::1"),
		netip.MustParseAddr("ff02::1:ff00:10"), netip.MustParseAddr("ff0e::5"), netip.MustParseAddr("2001:db8:100::1"),
		netip.MustParseAddr("2001:db8:100:1::"), netip.MustParseAddr("2001:db8:100:1::1"),
		netip.MustParseAddr("2001:db8:100:1::53"), netip.MustParseAddr("2001:db8:100:2::1"),
		netip.MustParseAddr("2001:db8:100:1::dead"), netip.MustParseAddr("2001:db8:100:ff::1"),
		netip.MustParseAddr("febf::10"), netip.MustParseAddr("fec0::10"),
		netip.MustParseAddr("2001:db8:200:1::1"), netip.MustParseAddr("2001:db8:200:1::dead"), netip.MustParseAddr("2001:db8:200:3::10"),
	}
)

// Shape is what a world must fit: interfaces that exist, and the routes to what
// is outside.
type Shape struct {
	Ports    []uint32         // indexes of workloads' host-side interfaces
	Overlays []policy.Overlay // of no network yet
	Routes   []policy.Route
}

// World gives random networks with workloads on some of the interfaces.
func World(r *rand.Rand, shape Shape) *policy.World {
	w := &policy.World{
		Space: []netip.Prefix{Space}, NodeOwn: []netip.Prefix{NodeOwn}, Routes: shape.Routes, Lockdown: lockdown(r),
	}
	names := networkNames[:1+r.IntN(len(networkNames))]
	for i, name := range names {
		prefix := netip.MustParsePrefix(fmt.Sprintf("2001:db8:100:%x::/64", i+1))
		peers := slices.DeleteFunc(slices.Clone(networkNames), func(n string) bool { return n == name })
		w.Networks = append(w.Networks, policy.Network{
			Document: Document(r, name, peers), Prefix: prefix, Gateway: prefix.Addr().Next(), MTU: pick(r, []int{1280, 1500}),
			Resolver: chance(r, 50),
		})
	}
	attached := shape.Ports[:len(shape.Ports)-r.IntN(2)] // perhaps one belongs to no workload
	for i, index := range attached {
		attach(r, w, index, i)
	}
	relays := make([]bool, len(w.Networks))
	for i := range relays {
		relays[i] = chance(r, 50)
	}
	for i, overlay := range shape.Overlays {
		n := i
		if i > 0 && chance(r, 30) {
			n = 0 // which has two then
		}
		if n < len(w.Networks) && chance(r, 80) {
			overlay.Relay, overlay.Entrance = relays[n], chance(r, 40)
			span(r, w, overlay, w.Networks[n], i)
		}
	}
	return w
}

func attach(r *rand.Rand, w *policy.World, index uint32, number int) {
	n := pick(r, w.Networks)
	service := pick(r, n.Document.Services).Name
	if n.Resolver && chance(r, 25) {
		service = policy.ResolverService
	}
	p := policy.Port{
		Interface: index, Network: n.Document.Name, Service: service,
		Workload: fmt.Sprintf("w%d", number), MAC: [6]byte{2, 0, 0, 0, 0, byte(0x10 + number)},
	}
	bind := func(address netip.Addr, learned bool) {
		w.Bindings = append(w.Bindings, policy.Binding{
			Address: address, Network: p.Network, Service: p.Service, Workload: p.Workload, Interface: index, Learned: learned,
		})
	}
	host := byte(0x10 + number)
	bind(withHost(n.Prefix.Addr(), host), false)
	bind(withHost(netip.MustParseAddr("fe80::"), host), false)
	if chance(r, 30) { // a VM
		p.Learnable = 1 + r.IntN(3)
		for i := range r.IntN(p.Learnable + 1) {
			bind(withHost(n.Prefix.Addr(), byte(0x80+8*number+i)), true)
		}
	}
	w.Ports = append(w.Ports, p)
}

// Beyond is the address space of other nodes.
var Beyond = netip.MustParsePrefix("2001:db8:200::/48")

// span gives a network workloads on another node.
func span(r *rand.Rand, w *policy.World, overlay policy.Overlay, n policy.Network, number int) {
	overlay.Network = n.Document.Name
	w.Overlays = append(w.Overlays, overlay)
	base := Beyond.Addr().As16()
	base[7] = byte(number + 1)
	for i := range 1 + r.IntN(4) {
		w.Bindings = append(w.Bindings, policy.Binding{
			Address: withHost(netip.AddrFrom16(base), byte(0x10+i)), Network: overlay.Network,
			Service: pick(r, n.Document.Services).Name, Workload: fmt.Sprintf("far%d-%d", number, i), Interface: overlay.Interface,
		})
	}
	for i, device := range n.Document.Access { // it ends here, or on another node
		prefix := pick(r, []netip.Addr{n.Prefix.Addr(), netip.AddrFrom16(base)})
		w.Bindings = append(w.Bindings, policy.Binding{
			Address: withHost(prefix, byte(0xe0+8*number+i)), Network: overlay.Network, Access: device.Name, Interface: overlay.Interface,
		})
	}
}

func withHost(prefix netip.Addr, host byte) netip.Addr {
	b := prefix.As16()
	b[15] = host
	return netip.AddrFrom16(b)
}

func lockdown(r *rand.Rand) (list []spec.LockdownAllow) {
	from := []string{"2001:db8:77::/48", "2001:db8:77:1::/64", "203.0.113.0/24", "203.0.113.5/32", "2001:db8::/32", "::/0", "0.0.0.0/0"}
	texts := []string{"tcp/22", "tcp/80-443", "udp/any", "any", "sctp/any", "udp/53"}
	for range r.IntN(4) {
		allow := spec.LockdownAllow{From: netip.MustParsePrefix(pick(r, from))}
		for len(allow.Ports) == 0 || chance(r, 40) {
			ports, err := spec.ParsePorts(pick(r, texts))
			if err != nil {
				panic(err)
			}
			allow.Ports = append(allow.Ports, ports)
		}
		list = append(list, allow)
	}
	return list
}

// IDs numbers a world's networks and services as a registry would: networks from
// 1 in their order, services from 1 over all of them.
func IDs(w *policy.World) map[string]policy.IDs {
	all := make(map[string]policy.IDs, len(w.Networks))
	next := uint32(1)
	for i, n := range w.Networks {
		ids := policy.IDs{
			Network: uint32(i + 1), Services: map[string]uint32{}, Access: map[string]uint32{}, Peer: map[string]map[string]uint32{},
		}
		for _, s := range n.Document.Services {
			ids.Services[s.Name] = next
			next++
		}
		for _, a := range n.Document.Access {
			ids.Access[a.Name] = next
			next++
		}
		if n.Resolver {
			ids.Resolver = next
			next++
		}
		all[n.Document.Name] = ids
	}
	for name, ids := range all {
		for other, theirs := range all {
			if other != name {
				ids.Peer[other] = theirs.Services
			}
		}
	}
	return all
}

// Address gives one that means something to a world: a workload's in most cases.
func Address(r *rand.Rand, w *policy.World) netip.Addr {
	switch n := r.IntN(100); {
	case n < 60 && len(w.Bindings) > 0:
		return pick(r, w.Bindings).Address
	case n < 85:
		return pick(r, strangers)
	}
	return pick(r, oddities)
}

// Flow gives two ends and what the flow is of, as rules see it.
func Flow(r *rand.Rand, w *policy.World) (from, to policy.Endpoint, proto uint8, port uint16) {
	end := func() policy.Endpoint {
		if chance(r, 75) && len(w.Bindings) > 0 {
			b := pick(r, w.Bindings)
			return policy.Endpoint{Address: b.Address, Network: b.Network, Service: b.Service, Workload: b.Workload, Access: b.Access}
		}
		return policy.Endpoint{Address: pick(r, strangers)}
	}
	proto = pick(r, []uint8{6, 6, 6, 17, 17, 58, 132, 47})
	switch port = randomPort(r); proto {
	case 58:
		port = pick(r, icmpTypes)
	case 47:
		port = 0
	}
	return end(), end(), proto, port
}

// randomPort gives one that rules name, or the one beside it, or any.
func randomPort(r *rand.Rand) uint16 {
	switch r.IntN(4) {
	case 0:
		return pick(r, ports) + uint16(r.IntN(3)) - 1
	case 1:
		return uint16(r.Uint32())
	}
	return pick(r, ports)
}
