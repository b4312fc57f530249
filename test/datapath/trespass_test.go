package datapath

import (
	"net/netip"
	"testing"

	"github.com/zosnet/zosnet/pkg/maps"
)

// bob is another device of acme's, which ends where alice does.
var bob = netip.MustParseAddr("2001:db8:aaaa:1:8000::b")

const serviceBob = 22

// limited lets alice connect to web's port 80, and nothing else.
const limited = `
network: acme
nodes: [n1, n2]
default: {inside: allow, outbound: allow}
services: {web: {ports: [tcp/80]}, db: {ports: [tcp/5432]}}
access: {alice: {publicKey: "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", allow: [web]}}
expose:
  - {service: db, ports: [tcp/5432]}
`

// A person with a configuration that is valid tries what it is not for. Each packet is
// dropped, and counted under what it is.
func TestWhatAnAccessDeviceDoesNotReach(t *testing.T) {
	n, device := newEntrance(t)
	entrance := n.entrance()
	api := netip.MustParseAddr("2001:db8:aaaa:2::100")
	own := netip.MustParseAddr("2001:db8:aaaa::1")
	_, err := n.datapath.Maps().SetBindings(globex, map[maps.BindingKey]maps.Binding{
		maps.BindingOf(api, globex): {Network: globex, Service: serviceAPI, Workload: 2, Ifindex: n.port + 1000, Kind: maps.PortVeth, Mac: workloadMAC},
	})
	must(t, err)
	_, err = n.datapath.Maps().SetBindings(acme, map[maps.BindingKey]maps.Binding{
		maps.BindingOf(n.address, acme): {Network: acme, Service: serviceWeb, Workload: 1, Ifindex: n.port, Kind: maps.PortVeth, Mac: workloadMAC},
		maps.BindingOf(farDB, acme):     {Network: acme, Service: serviceDB, Ifindex: n.overlay, Kind: maps.PortOverlay},
		maps.BindingOf(alice, acme):     {Network: acme, Service: serviceAlice, Ifindex: entrance, Kind: maps.PortOverlay},
		maps.BindingOf(bob, acme):       {Network: acme, Service: serviceBob, Ifindex: entrance, Kind: maps.PortOverlay},
	})
	must(t, err)
	n.apply(limited)
	web := n.address
	syn := func(to netip.Addr, port uint16) []byte { return bare(t, tcp(alice, to, 1000, port, "S", 1, 0)) }
	whole := tcp(alice, web, 1000, 80, "S", 1, 0).bytes(t)
	long := tcp(alice, web, 1000, 80, "A", 1, 1)
	long.layers = append(long.layers, payload(400))
	from := func(source string) []byte {
		return bare(t, tcp(netip.MustParseAddr(source), web, 1000, 80, "S", 1, 0))
	}
	for _, c := range []struct {
		what, want string
		packet     []byte
	}{
		{"a port of web's that nobody named", "policy_inside", syn(web, 81)},
		{"the port of web's under another protocol", "policy_inside", bare(t, udp(alice, web, 1000, 80))},
		{"a ping of web", "policy_inside", bare(t, icmp(alice, web, 128, 0, 0, 7, 0, 1))},
		{"a service that she may not reach, open inside and exposed to strangers", "policy_inside", syn(farDB, 5432)},
		{"the middle of a connection that she never began", "policy_inside", bare(t, tcp(alice, farDB, 1000, 5432, "A", 1, 1))},
		{"the answer to a connection that nobody began", "tcp_state", bare(t, tcp(alice, web, 80, 1000, "SA", 1, 1))},
		{"another device", "policy_inside", syn(bob, 22)},
		{"herself", "spoofed_address", syn(alice, 22)},
		{"another network's workload", "no_route", syn(api, 80)},
		{"an address of another network that nobody has", "unassigned", syn(api.Next(), 80)},
		{"an address of her own network that nobody has", "unassigned", syn(web.Next(), 80)},
		{"the gateway's SSH", "host", syn(n.gateway(), 22)},
		{"the routers' anycast address", "host", syn(n.prefix.Addr(), 22)},
		{"the node's own /64", "host", syn(own, 80)},
		{"the grid's control network", "no_route", syn(netip.MustParseAddr("fd7a:6f73::1"), 2379)},
		{"the node's loopback", "no_route", syn(netip.IPv6Loopback(), 22)},
		{"the world", "no_route", syn(world, 443)},
		{"the world under an IPv4 address in an IPv6 one", "no_route", syn(netip.MustParseAddr("::ffff:192.0.2.10"), 443)},
		{"all nodes of the link", "multicast", bare(t, udp(alice, netip.IPv6LinkLocalAllNodes(), 1000, 80))},
		{"all nodes of the site", "multicast", bare(t, udp(alice, netip.MustParseAddr("ff05::1"), 1000, 80))},
		{"a solicitation of a neighbour", "nd_guard", bare(t, icmp(alice, web, 135, 0, make([]byte, 20)...))},
		{"a router's advertisement", "nd_guard", bare(t, icmp(alice, web, 134, 0, make([]byte, 12)...))},
		{"under a workload's address", "spoofed_address", from(web.String())},
		{"under the gateway's address", "spoofed_address", from(n.gateway().String())},
		{"under an address of her /64 that nobody has", "spoofed_address", from("2001:db8:aaaa:1:8000::c")},
		{"under an address of another network", "spoofed_address", from(api.String())},
		{"under the node's own address", "spoofed_address", from(own.String())},
		{"under a stranger's address", "unknown_identity", from(world.String())},
		{"under no address", "spoofed_address", from("::")},
		{"under a loopback address", "spoofed_address", from("::1")},
		{"under a multicast address", "spoofed_address", from("ff02::1")},
		{"under a link-local address", "spoofed_address", from("fe80::a")},
		{"IPv4", "not_ipv6", append([]byte{0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2}, make([]byte, 8)...)},
		{"half a header", "malformed", syn(web, 80)[:30]},
		{"the rest of what she sent no beginning of", "fragment_without_first", fragment(long.bytes(t), 7, 208, 408, false)[14:]},
		{"a second fragment that writes over the ports of a first", "fragment_overlap", fragment(whole, 7, 8, 20, false)[14:]},
		{"what a routing header of type 0 would send on", "extension_headers", withHeaders(whole, 43, whole[20], 0, 0, 1, 0, 0, 0, 0)[14:]},
	} {
		dropsOne(t, n, c.want, c.what, func() {
			if _, err := device.Write(c.packet); err != nil {
				t.Errorf("%s: %v", c.what, err)
			}
		})
	}
}

// entrance is the index of the interface by which devices come.
func (n *member) entrance() uint32 {
	n.t.Helper()
	h, err := n.host.Netlink()
	must(n.t, err)
	defer h.Close()
	return uint32(linkNamed(n.t, h, entranceName).Attrs().Index)
}
