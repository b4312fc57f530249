package datapath

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	message "golang.org/x/net/icmp"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/maps"
	"github.com/zosnet/zosnet/test/probe"
)

const spanning = `
network: acme
nodes: [n1, n2]
services: {web: {}, db: {}}
rules:
  - allow: {from: web, to: db}
  - allow: {from: db, to: web, ports: [udp/7]}
  - deny: {from: inside, to: inside}
`

const spanningClosed = `
network: acme
nodes: [n1, n2]
services: {web: {}, db: {}}
rules:
  - deny: {from: inside, to: inside}
`

// newPair makes two nodes with acme's web on the first and db on the second.
func newPair(t *testing.T, mtu int) (n1, n2 *member, wire *underlay) {
	t.Helper()
	n1 = newMember(t, "n1", netip.MustParsePrefix("2001:db8:aaaa::/48"), overlayMTU)
	n2 = newMember(t, "n2", netip.MustParsePrefix("2001:db8:bbbb::/48"), mtu)
	for _, pair := range [][2]*member{{n1, n2}, {n2, n1}} {
		pair[0].route(pair[1].prefix)
		pair[0].knows(pair[1])
		pair[0].apply(spanning)
	}
	return n1, n2, join(t, n1, n2)
}

// datagrams opens a socket on a workload.
func (n *member) datagrams(port uint16) *net.UDPConn {
	n.t.Helper()
	c, err := n.inside.ListenPacket("udp6", netip.AddrPortFrom(n.address, port).String())
	must(n.t, err)
	n.t.Cleanup(func() { _ = c.Close() })
	return c.(*net.UDPConn)
}

func sendTo(t *testing.T, from *net.UDPConn, to *member, port uint16, payload []byte) {
	t.Helper()
	if _, err := from.WriteToUDPAddrPort(payload, netip.AddrPortFrom(to.address, port)); err != nil {
		t.Fatal(err)
	}
}

func hears(t *testing.T, c *net.UDPConn, what string, payload []byte) {
	t.Helper()
	must(t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
	buffer := make([]byte, 65536)
	n, err := c.Read(buffer)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if !bytes.Equal(buffer[:n], payload) {
		t.Fatalf("%s: %d bytes that nobody sent", what, n)
	}
}

// dropsOne waits until a node has dropped a packet for a reason that it has not
// dropped one for before.
func dropsOne(t *testing.T, n *member, reason, what string, do func()) {
	t.Helper()
	before := n.drops(reason)
	do()
	for deadline := time.Now().Add(10 * time.Second); n.drops(reason) == before; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: %s drops nothing as %s", what, n.host.Name, reason)
		}
	}
}

// Streams go both ways between two nodes, past a daemon that has died; a maximum
// segment size fits the overlay from the first SYN on.
func TestStreamsOverAnOverlay(t *testing.T) {
	n1, n2, wire := newPair(t, overlayMTU)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stream := func(port uint16, sender probe.Sender) *probe.Stream {
		t.Helper()
		s, err := probe.StartStream(ctx, n1.inside, n2.inside, netip.AddrPortFrom(n2.address, port), sender)
		must(t, err)
		t.Cleanup(s.Stop)
		must(t, s.WaitProgress(ctx, 1<<19))
		return s
	}
	old := []*probe.Stream{stream(5001, probe.ClientSends), stream(5002, probe.ServerSends)}
	for _, answer := range []bool{false, true} {
		syn := wire.find(t, "a SYN", func(p []byte) bool { return isSYN(p, answer) })
		if got := synSize(syn); got != overlayMTU-60 {
			t.Errorf("maximum segment size %d on the wire (answer %v), expected %d", got, answer, overlayMTU-60)
		}
	}
	for _, n := range []*member{n1, n2} {
		must(t, n.datapath.Close())
	}
	for _, s := range old {
		must(t, s.WaitProgress(ctx, 1<<19))
	}
	stream(5003, probe.ServerSends)
	for _, n := range []*member{n1, n2} {
		n.open() // the next daemon puts its programs into the same links
	}
	for _, s := range old {
		must(t, s.WaitProgress(ctx, 1<<19))
	}
}

// Where the far end of an overlay is narrower, both ends send what fits it: it lowers
// what a SYN announces that comes in, as well as one that goes out.
func TestSegmentsFitTheNarrowerEnd(t *testing.T) {
	n1, n2, wire := newPair(t, 1280)
	l, err := n2.inside.Listen("tcp6", netip.AddrPortFrom(n2.address, 5001).String())
	must(t, err)
	defer func() { _ = l.Close() }()
	client, err := n1.inside.Dial(t.Context(), "tcp6", l.Addr().String())
	must(t, err)
	defer func() { _ = client.Close() }()
	server, err := l.Accept()
	must(t, err)
	defer func() { _ = server.Close() }()
	if got := synSize(wire.find(t, "the SYN", func(p []byte) bool { return isSYN(p, false) })); got != overlayMTU-60 {
		t.Errorf("the SYN leaves with %d, expected %d", got, overlayMTU-60)
	}
	if got := synSize(wire.find(t, "its answer", func(p []byte) bool { return isSYN(p, true) })); got != 1220 {
		t.Errorf("its answer leaves with %d, expected 1220", got)
	}
	for what, c := range map[string]net.Conn{"client": client, "server": server} {
		raw, err := c.(*net.TCPConn).SyscallConn()
		must(t, err)
		var size int
		must(t, raw.Control(func(fd uintptr) { size, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG) }))
		must(t, err)
		if size > 1220 {
			t.Errorf("the %s sends segments of %d bytes, expected no more than 1220", what, size)
		}
	}
}

// Datagrams as rules say, at both ends: the sender's node early, the receiver's with
// authority.
func TestRulesHoldAtBothEndsOfAnOverlay(t *testing.T) {
	n1, n2, _ := newPair(t, overlayMTU)
	web, db := n1.datagrams(7), n2.datagrams(53)
	sendTo(t, web, n2, 53, []byte("question"))
	hears(t, db, "what web asks", []byte("question"))
	sendTo(t, db, n1, 7, []byte("answer"))
	hears(t, web, "what db answers", []byte("answer"))

	n2.apply(spanningClosed)
	dropsOne(t, n2, "policy_inside", "the receiver's rules", func() { sendTo(t, web, n2, 53, []byte("more")) })
	dropsOne(t, n2, "flow_denied", "the other end's next", func() { sendTo(t, db, n1, 7, []byte("more")) })
	n2.apply(spanning)
	n1.apply(spanningClosed)
	dropsOne(t, n1, "policy_inside", "the sender's rules", func() { sendTo(t, web, n2, 53, []byte("more")) })
	n1.apply(spanning)
	sendTo(t, web, n2, 53, []byte("again"))
	hears(t, db, "once the rules are back", []byte("again"))

	stranger := n2.datagrams(54)
	dropsOne(t, n2, "policy_inside", "a flow that no rule lets db start", func() { sendTo(t, stranger, n1, 8, []byte("hello")) })
	sendTo(t, stranger, n1, 7, []byte("hello"))
	hears(t, web, "one that a rule lets it start", []byte("hello"))
}

// A datagram that is too big for the overlay is answered by the network's gateway, and
// then comes in fragments.
func TestTooBigForAnOverlay(t *testing.T) {
	n1, n2, _ := newPair(t, 1280)
	web, db := n1.datagrams(7), n2.datagrams(53)
	listener, err := n1.listenICMP()
	must(t, err)
	big := bytes.Repeat([]byte("x"), 1400)
	sendTo(t, web, n2, 53, big)
	if from, mtu := awaitICMP(t, listener, ipv6.ICMPTypePacketTooBig); from != n1.gateway() || mtu != overlayMTU {
		t.Errorf("%s says too big for %d, expected the gateway %s and %d", from, mtu, n1.gateway(), overlayMTU)
	}
	sendTo(t, web, n2, 53, big)
	hears(t, db, "what came in fragments", big)
	// db's overlay is narrower: its gateway speaks for it, and that db hears.
	heard, err := n2.listenICMP()
	must(t, err)
	wide := bytes.Repeat([]byte("y"), 1300)
	sendTo(t, db, n1, 7, wide)
	if from, mtu := awaitICMP(t, heard, ipv6.ICMPTypePacketTooBig); from != n2.gateway() || mtu != 1280 {
		t.Errorf("%s says too big for %d, expected the gateway %s and 1280", from, mtu, n2.gateway())
	}
	sendTo(t, db, n1, 7, wide)
	hears(t, web, "the answer in fragments", wide)
}

func (n *member) listenICMP() (c *message.PacketConn, err error) {
	err = n.inside.Do(func() (err error) {
		c, err = message.ListenPacket("ip6:ipv6-icmp", n.address.String())
		return err
	})
	if err == nil {
		n.t.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

// awaitICMP gives who sends an error of a type, and the MTU that it names.
func awaitICMP(t *testing.T, c *message.PacketConn, want ipv6.ICMPType) (from netip.Addr, mtu int) {
	t.Helper()
	must(t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
	buffer := make([]byte, 2048)
	for {
		n, peer, err := c.ReadFrom(buffer)
		if err != nil {
			t.Fatalf("no %v: %v", want, err)
		}
		m, err := message.ParseMessage(unix.IPPROTO_ICMPV6, buffer[:n])
		must(t, err)
		if m.Type != want {
			continue
		}
		if body, ok := m.Body.(*message.PacketTooBig); ok {
			mtu = body.MTU
		}
		from, _ = netip.AddrFromSlice(peer.(*net.IPAddr).IP)
		return from, mtu
	}
}

// Hop limits count down at both nodes, and each one's gateway says when they are used
// up: what `traceroute` shows.
func TestHopLimitsOverAnOverlay(t *testing.T) {
	n1, n2, wire := newPair(t, overlayMTU)
	web, db := n1.datagrams(7), n2.datagrams(53)
	listener, err := n1.listenICMP()
	must(t, err)
	hops := ipv6.NewPacketConn(web)
	for i, n := range []*member{n1, n2} {
		must(t, hops.SetHopLimit(i+1))
		sendTo(t, web, n2, 53, []byte("hop"))
		if from, _ := awaitICMP(t, listener, ipv6.ICMPTypeTimeExceeded); from != n.gateway() {
			t.Errorf("hop %d is %s, expected the gateway %s", i+1, from, n.gateway())
		}
	}
	must(t, hops.SetHopLimit(3))
	sendTo(t, web, n2, 53, []byte("here"))
	hears(t, db, "the third hop", []byte("here"))
	sent := wire.find(t, "the datagram", func(p []byte) bool { return bytes.HasSuffix(p, []byte("here")) })
	if sent[7] != 2 {
		t.Errorf("hop limit %d on the wire, expected 2", sent[7])
	}
}

// What nobody behind an overlay may send, and what it may not reach.
func TestWhatDoesNotComeOverAnOverlay(t *testing.T) {
	n1, n2, _ := newPair(t, overlayMTU)
	n1.datagrams(7)
	other := netip.MustParseAddr("2001:db8:bbbb:2::100")
	_, err := n1.datapath.Maps().SetBindings(globex, map[maps.BindingKey]maps.Binding{
		maps.BindingOf(other, globex): {Network: globex, Service: serviceAPI, Ifindex: n1.overlay + 1000, Kind: maps.PortOverlay},
	})
	must(t, err)
	local := n1.prefix.Addr().Next().Next()
	web, db := n1.address, n2.address
	unknown := db.Next()
	for _, c := range []struct {
		what, want string
		packet     []byte
	}{
		{"a source of another network", "spoofed_address", bare(t, udp(other, web, 1, 7))},
		{"the receiver's own address", "spoofed_address", bare(t, udp(web, web, 1, 7))},
		{"an address of this node that nobody has", "spoofed_address", bare(t, udp(local, web, 1, 7))},
		{"an address behind the overlay that nobody is known to have", "unknown_identity", bare(t, udp(unknown, web, 1, 7))},
		{"the unspecified address", "spoofed_address", bare(t, udp(netip.IPv6Unspecified(), web, 1, 7))},
		{"a link-local source", "spoofed_address", bare(t, udp(netip.MustParseAddr("fe80::5"), web, 1, 7))},
		{"to the network's gateway", "host", bare(t, icmp(db, n1.gateway(), 128, 0, 0, 7, 0, 1))},
		{"to an address that nobody has", "unassigned", bare(t, udp(db, local, 1, 7))},
		{"to the world", "no_route", bare(t, udp(db, world, 1, 7))},
		{"back over the overlay", "no_route", bare(t, udp(db, db, 1, 7))},
		{"to all nodes of the link", "multicast", bare(t, udp(db, netip.IPv6LinkLocalAllNodes(), 1, 7))},
		{"to a link-local address", "no_route", bare(t, udp(db, netip.MustParseAddr("fe80::5"), 1, 7))},
		{"a router advertisement", "nd_guard", bare(t, icmp(db, web, 134, 0, make([]byte, 12)...))},
		{"an error about nothing", "icmp_unrelated", bare(t, icmp(db, web, 2, 0, make([]byte, 60)...))},
		{"a RST of nothing", "tcp_state", bare(t, tcp(db, web, 1, 7, "R", 1, 0))},
		{"IPv4", "not_ipv6", append([]byte{0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2}, make([]byte, 8)...)},
		{"half a header", "malformed", bare(t, udp(db, web, 1, 7))[:30]},
	} {
		dropsOne(t, n1, c.want, c.what, func() {
			if _, err := n1.tun.Write(c.packet); err != nil {
				t.Errorf("%s: %v", c.what, err)
			}
		})
	}
}

// bare gives a packet without its link header.
func bare(t *testing.T, f frame) []byte { return f.bytes(t)[14:] }

// The node itself has no way into an overlay, nor has what another network sends.
func TestNothingUnjudgedEntersAnOverlay(t *testing.T) {
	n1, n2, wire := newPair(t, overlayMTU)
	c, err := n1.host.ListenPacket("udp6", "[::]:0")
	must(t, err)
	defer func() { _ = c.Close() }()
	secret := []byte("the host's own")
	dropsOne(t, n1, "unjudged", "the host's datagram", func() {
		_, err := c.WriteTo(secret, net.UDPAddrFromAddrPort(netip.AddrPortFrom(n2.address, 53)))
		if err != nil && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ENOBUFS) {
			t.Error(err)
		}
	})
	web, db := n1.datagrams(7), n2.datagrams(53)
	sendTo(t, web, n2, 53, []byte("judged"))
	hears(t, db, "the workload's", []byte("judged"))
	wire.mu.Lock()
	defer wire.mu.Unlock()
	for _, p := range wire.taken {
		if bytes.HasSuffix(p, secret) {
			t.Error("the host's datagram was on the wire")
		}
	}
}

// With no daemon, and the overlay's interface gone, packets go where the kernel's
// routes lead: first nowhere, which the workload is told, then to its successor.
func TestAnOverlayIsMadeAnewWithoutADaemon(t *testing.T) {
	n1, n2, _ := newPair(t, overlayMTU)
	web, db := n1.datagrams(7), n2.datagrams(53)
	sendTo(t, web, n2, 53, []byte("before"))
	hears(t, db, "what web sends", []byte("before"))
	must(t, n1.datapath.Close())
	must(t, n1.tun.Close())
	listener, err := n1.listenICMP()
	must(t, err)
	const between = 100 * time.Millisecond
	told := make(chan error, 1)
	go func() {
		must(t, listener.SetReadDeadline(time.Now().Add(10*time.Second)))
		_, _, err := listener.ReadFrom(make([]byte, 1500))
		told <- err
	}()
	for waiting := true; waiting; {
		_, _ = web.WriteToUDPAddrPort([]byte("nowhere"), netip.AddrPortFrom(n2.address, 53))
		select {
		case err := <-told:
			must(t, err)
			waiting = false
		case <-time.After(between):
		}
	}
	tun := n1.openTun(overlayMTU)
	n1.route(n2.prefix)
	defer n1.open()
	got := make(chan error, 1)
	go func() {
		buffer := make([]byte, 2048)
		for {
			n, err := tun.Read(buffer)
			if err != nil {
				got <- fmt.Errorf("read what leaves: %w", err)
				return
			}
			if bytes.HasSuffix(buffer[:n], []byte("after")) {
				got <- nil
				return
			}
		}
	}()
	for deadline := time.Now().Add(10 * time.Second); ; {
		_, _ = web.WriteToUDPAddrPort([]byte("after"), netip.AddrPortFrom(n2.address, 53))
		select {
		case err := <-got:
			must(t, err)
			return
		case <-time.After(between):
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing leaves by the interface that was made anew")
		}
	}
}
