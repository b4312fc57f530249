package datapath

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/maps"
)

// alice is a person's device that ends on the node n1, with an address in its /64.
var alice = netip.MustParseAddr("2001:db8:aaaa:1:8000::a")

const (
	serviceAlice = 21
	entranceName = "zaacme"
	entranceMTU  = 1420
)

const accessible = `
network: acme
nodes: [n1, n2]
services: {web: {}, db: {}}
access: {alice: {publicKey: "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}}
rules:
  - allow: {from: alice, to: db}
  - allow: {from: alice, to: web}
`

// newEntrance makes a node of acme where alice ends, with db behind an overlay of 1280
// bytes, and gives what stands for her device: what is written there she sends.
func newEntrance(t *testing.T) (n *member, device *os.File) {
	t.Helper()
	n = newMember(t, "n1", netip.MustParsePrefix("2001:db8:aaaa::/48"), 1280)
	n.route(netip.PrefixFrom(farDB, 64).Masked())
	n.setRelay(1)
	device, index := n.openOverlay(entranceName, entranceMTU)
	must(t, n.datapath.Maps().PutOverlay(index, maps.Overlay{Network: acme, Relay: 1, Entrance: 1}))
	must(t, n.host.Do(func() error {
		_, err := n.datapath.AttachOverlay(entranceName)
		return err
	}))
	overlay := n.overlay
	n.overlay = index
	n.route(netip.PrefixFrom(alice, 128))
	n.overlay = overlay
	_, err := n.datapath.Maps().SetBindings(acme, map[maps.BindingKey]maps.Binding{
		maps.BindingOf(n.address, acme): {Network: acme, Service: serviceWeb, Workload: 1, Ifindex: n.port, Kind: maps.PortVeth, Mac: workloadMAC},
		maps.BindingOf(farDB, acme):     {Network: acme, Service: serviceDB, Ifindex: overlay, Kind: maps.PortOverlay},
		maps.BindingOf(alice, acme):     {Network: acme, Service: serviceAlice, Ifindex: index, Kind: maps.PortOverlay},
	})
	must(t, err)
	n.apply(accessible)
	return n, device
}

// The first thing that a person tries: her gateway answers, whatever the rules say, and
// says what becomes of packets that cannot go on, as it does to workloads.
func TestTheGatewayAnswersAnAccessDevice(t *testing.T) {
	n, device := newEntrance(t)
	const echoReply, tooBig, timeExceeded = 129, 2, 3
	n.answersOver(device, "the gateway's answer to a ping", bare(t, icmp(alice, n.gateway(), 128, 0, 0, 7, 0, 1)), echoReply)
	n.answersOver(device, "one with a hop limit of 1", bare(t, icmp(alice, n.gateway(), 128, 0, 0, 7, 0, 2).hops(1)), echoReply)
	n.answersOver(device, "that hops are used up on the way to this node's web", bare(t, udp(alice, n.address, 1000, 80).hops(1)), timeExceeded)
	n.answersOver(device, "that hops are used up on the way to another node's db", bare(t, udp(alice, farDB, 1000, 53).hops(1)), timeExceeded)
	big := n.answersOver(device, "that the overlay is narrower", bare(t, udp(alice, farDB, 1000, 53).with(make([]byte, 1340))), tooBig)
	if mtu := binary.BigEndian.Uint32(big[44:]); mtu != 1280 {
		t.Errorf("the gateway says too big for %d, expected 1280", mtu)
	}

	sent := bare(t, udp(alice, farDB, 1000, 53))
	_, err := n.tun.Write(bare(t, icmp(dbGate, alice, timeExceeded, 0, append([]byte{0, 0, 0, 0}, sent...)...)))
	must(t, err)
	from := dbGate.As16()
	comesOut(t, device, "what the next node's gateway says", func(p []byte) bool {
		return p[6] == unix.IPPROTO_ICMPV6 && p[40] == timeExceeded && bytes.Equal(p[8:24], from[:])
	})
}

// The gateway is nothing else to her, and to nobody else that much.
func TestWhatTheGatewayDoesNotAnswer(t *testing.T) {
	n, device := newEntrance(t)
	anycast, inside := n.prefix.Addr(), n.prefix.Addr().Next().Next()
	for _, c := range []struct {
		what, want string
		by         *os.File
		packet     frame
	}{
		{"a datagram", "host", device, udp(alice, n.gateway(), 1000, 53)},
		{"a connection", "host", device, tcp(alice, n.gateway(), 1000, 22, "S", 1, 0)},
		{"an answer that nobody asked for", "host", device, icmp(alice, n.gateway(), 129, 0, 0, 7, 0, 1)},
		{"a ping to the routers' anycast address", "host", device, icmp(alice, anycast, 128, 0, 0, 7, 0, 1)},
		{"a ping to the link-local gateway", "no_route", device, icmp(alice, netip.MustParseAddr("fe80::1"), 128, 0, 0, 7, 0, 1)},
		{"a ping under an address of the /64 that nobody has", "spoofed_address", device, icmp(inside, n.gateway(), 128, 0, 0, 7, 0, 1)},
		{"a ping under the gateway's address", "spoofed_address", device, icmp(n.gateway(), n.gateway(), 128, 0, 0, 7, 0, 1)},
		{"a ping of another node's workload", "host", n.tun, icmp(farDB, n.gateway(), 128, 0, 0, 7, 0, 1)},
		{"an error about nothing", "icmp_unrelated", device, icmp(alice, farDB, 2, 0, make([]byte, 60)...)},
	} {
		dropsOne(t, n, c.want, c.what, func() {
			_, err := c.by.Write(bare(t, c.packet))
			must(t, err)
		})
	}
	// The node itself has no more way to her than to anybody.
	dropsOne(t, n, "unjudged", "a ping of the node's", func() {
		_, _ = n.host.Command(t.Context(), "ping", "-6", "-c", "1", "-W", "1", alice.String()).CombinedOutput()
	})
}
