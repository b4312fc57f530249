package node

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
)

// TestDHCP lets the locked node get a lease, and a stranger's offer that the
// node did not ask for get nowhere.
func TestDHCP(t *testing.T) {
	n := start(t, lab.Config{LAN: true})
	var server *server4.Server
	err := n.Router.Do(func() (err error) {
		server, err = server4.NewServer("near", nil, lease)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve() }()
	t.Cleanup(func() { _ = server.Close() })

	client, err := n.Node.ListenPacket("udp4", "0.0.0.0:68")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	wire := n.wire(n.Node)
	discover, err := dhcpv4.NewDiscovery(wire.MAC)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("by broadcast, without an address", func(t *testing.T) {
		// From 0.0.0.0, as only a client below IP can send it.
		n.inTest(t).leases(client, func() error {
			return wire.Send(mustFrame(t, probe.Ethernet(wire.MAC, layers.EthernetBroadcast, layers.EthernetTypeIPv4),
				probe.IPv4(netip.IPv4Unspecified(), netip.MustParseAddr("255.255.255.255"), layers.IPProtocolUDP),
				probe.UDP(68, 67), gopacket.Payload(discover.ToBytes())))
		})
	})
	t.Run("by unicast, to renew", func(t *testing.T) {
		n.inTest(t).leases(client, func() error {
			_, err := client.WriteTo(discover.ToBytes(), &net.UDPAddr{IP: lab.RouterIPv4.AsSlice(), Port: 67})
			return err
		})
	})
}

// leases asks until an offer comes.
func (n *node) leases(client net.PacketConn, ask func() error) {
	n.t.Helper()
	n.eventually(5*time.Second, func() error {
		if err := ask(); err != nil {
			return err
		}
		if err := client.SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
			return err
		}
		buf := make([]byte, 1500)
		size, _, err := client.ReadFrom(buf)
		if err != nil {
			return err
		}
		offer, err := dhcpv4.FromBytes(buf[:size])
		if err == nil && offer.YourIPAddr.String() != "192.0.2.77" {
			err = fmt.Errorf("offered %v, want 192.0.2.77", offer.YourIPAddr)
		}
		return err
	})
}

// TestUnsolicitedDHCP has a reason of its own.
func TestUnsolicitedDHCP(t *testing.T) {
	n := start(t, lab.Config{LAN: true})
	monitor := n.watch()
	lan := n.wire(n.LAN)
	nodeMAC := n.wire(n.Node).MAC
	before := n.drops("", "dhcp_unsolicited")
	offer := &layers.DHCPv4{Operation: layers.DHCPOpReply, HardwareType: layers.LinkTypeEthernet, HardwareLen: 6, ClientHWAddr: nodeMAC}
	send(t, lan, probe.Ethernet(lan.MAC, layers.EthernetBroadcast, layers.EthernetTypeIPv4),
		probe.IPv4(lab.LANIPv4, netip.MustParseAddr("255.255.255.255"), layers.IPProtocolUDP), probe.UDP(67, 68), offer)
	send(t, lan, probe.Ethernet(lan.MAC, nodeMAC, layers.EthernetTypeIPv6),
		probe.IPv6(lab.LANIPv6, lab.NodeIPv6, layers.IPProtocolUDP), probe.UDP(547, 546),
		&layers.DHCPv6{MsgType: layers.DHCPv6MsgTypeReply, TransactionID: []byte{1, 2, 3}})
	for _, port := range []uint16{68, 546} {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		drop, err := monitor.Wait(ctx, func(d lab.Drop) bool { return d.Dport == port })
		cancel()
		if err != nil || drop.Reason != "dhcp_unsolicited" {
			t.Errorf("port %d: %+v %v", port, drop, err)
		}
	}
	if after := n.drops("", "dhcp_unsolicited"); after != before+2 {
		t.Errorf("the metrics count %v, want %v", after, before+2)
	}
}

// lease answers a DHCP client with 192.0.2.77.
func lease(conn net.PacketConn, peer net.Addr, request *dhcpv4.DHCPv4) {
	kind := dhcpv4.MessageTypeOffer
	if request.MessageType() == dhcpv4.MessageTypeRequest {
		kind = dhcpv4.MessageTypeAck
	}
	router := net.IP(lab.RouterIPv4.AsSlice())
	answer, err := dhcpv4.NewReplyFromRequest(request, dhcpv4.WithMessageType(kind), dhcpv4.WithServerIP(router),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(router)), dhcpv4.WithYourIP(net.IPv4(192, 0, 2, 77)),
		dhcpv4.WithNetmask(net.CIDRMask(24, 32)), dhcpv4.WithLeaseTime(3600))
	if err == nil {
		_, _ = conn.WriteTo(answer.ToBytes(), peer)
	}
}

// TestDHCPv6 lets a client on the node ask, and get its answer.
func TestDHCPv6(t *testing.T) {
	n := start(t, lab.Config{})
	server, err := n.Router.ListenPacket("udp6", "[::]:547")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	if out, err := n.Router.Run(t.Context(), "ip", "-6", "route", "add", "ff02::1:2/128", "dev", "near", "table", "local"); err != nil {
		t.Logf("%v\n%s", err, out)
	}
	client, err := n.Node.ListenPacket("udp6", "[::]:546")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	wire, err := probe.OpenWire(n.Router, "near")
	if err != nil {
		t.Fatal(err)
	}
	defer wire.Close()
	relay := &net.UDPAddr{IP: net.ParseIP("ff02::1:2"), Port: 547, Zone: "eth0"}
	n.eventually(5*time.Second, func() error {
		// The zone is looked up by the caller's namespace: by number then.
		index, err := n.linkIndex("eth0")
		if err != nil {
			return err
		}
		relay.Zone = fmt.Sprint(index)
		if _, err := client.WriteTo([]byte{1, 1, 2, 3}, relay); err != nil {
			return err
		}
		solicit := wire.Frames(func(p gopacket.Packet) bool {
			udp, ok := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
			return ok && udp.DstPort == 547
		})
		if len(solicit) == 0 {
			return errors.New("no solicitation left the node")
		}
		asker := solicit[0].NetworkLayer().NetworkFlow().Src().Raw()
		if _, err := server.WriteTo([]byte{2, 1, 2, 3}, &net.UDPAddr{IP: asker, Port: 546, Zone: n.routerZone()}); err != nil {
			return err
		}
		buf := make([]byte, 100)
		if err := client.SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
			return err
		}
		_, _, err = client.ReadFrom(buf)
		return err
	})
}

func (n *node) linkIndex(name string) (int, error) { return indexOn(n.Node, name) }

func indexOn(m *lab.Machine, name string) (int, error) {
	h, err := m.Netlink()
	if err != nil {
		return 0, err
	}
	defer h.Close()
	l, err := h.LinkByName(name)
	if err != nil {
		return 0, err
	}
	return l.Attrs().Index, nil
}

func (n *node) routerZone() string {
	index, err := indexOn(n.Router, "near")
	if err != nil {
		n.t.Fatal(err)
	}
	return fmt.Sprint(index)
}

// TestRouterAdvertisement: the node forwards, and still takes its own address
// and default route from its router.
func TestRouterAdvertisement(t *testing.T) {
	n := start(t, lab.Config{})
	near, err := probe.OpenWire(n.Router, "near")
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	prefix := make([]byte, 30)
	prefix[0], prefix[1] = 64, 0xc0 // on-link, autonomous
	binary.BigEndian.PutUint32(prefix[2:], 3600)
	binary.BigEndian.PutUint32(prefix[6:], 1800)
	slaac := netip.MustParseAddr("2001:db8:51aa:c::").As16()
	copy(prefix[14:], slaac[:])
	ra := probe.RouterAdvertisement(near.MAC)
	ra.Options = append(ra.Options, layers.ICMPv6Option{Type: layers.ICMPv6OptPrefixInfo, Data: prefix})
	allNodes := netip.MustParseAddr("ff02::1")
	n.eventually(10*time.Second, func() error {
		send(t, near, probe.Ethernet(near.MAC, probe.MulticastMAC(allNodes), layers.EthernetTypeIPv6),
			probe.NDIPv6(netip.MustParseAddr("fe80::7"), allNodes), probe.ICMPv6(layers.ICMPv6TypeRouterAdvertisement, 0), ra)
		addresses, err := n.Node.Run(t.Context(), "ip", "-6", "addr", "show", "dev", "eth0")
		if err != nil {
			return err
		}
		routes, err := n.Node.Run(t.Context(), "ip", "-6", "route", "show", "default")
		if err != nil {
			return err
		}
		if !strings.Contains(addresses, "2001:db8:51aa:c:") || !strings.Contains(routes, "via fe80::7") {
			return fmt.Errorf("addresses:\n%s\nroutes:\n%s", addresses, routes)
		}
		return nil
	})
}

func send(t *testing.T, w *probe.Wire, stack ...gopacket.SerializableLayer) {
	t.Helper()
	if err := w.Send(mustFrame(t, stack...)); err != nil {
		t.Fatal(err)
	}
}

// TestPathMTU puts a narrower link behind the router: the host and a workload
// both learn of it by Packet Too Big and get their data through.
func TestPathMTU(t *testing.T) {
	n := start(t, lab.Config{})
	n.apply(red)
	web := n.attach("red", "web", "web-1")
	h, err := n.Router.Netlink()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	far, err := h.LinkByName("far")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.LinkSetMTU(far, 1300); err != nil {
		t.Fatal(err)
	}
	for _, from := range []*lab.Machine{n.Node, web.Machine} {
		for _, to := range []netip.Addr{lab.OutsideIPv6, lab.OutsideIPv4} {
			if from == web.Machine && to.Is4() {
				continue // networks are IPv6 only
			}
			t.Run(from.Name+" to "+to.String(), func(t *testing.T) {
				s, err := probe.StartStream(t.Context(), from, n.Outside, netip.AddrPortFrom(to, 8080), probe.ClientSends)
				if err != nil {
					t.Fatal(err)
				}
				defer s.Stop()
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				if err := s.WaitProgress(ctx, 500_000); err != nil {
					t.Error(err)
				}
			})
		}
	}
	t.Run("a stranger's Packet Too Big about no flow is dropped", func(t *testing.T) {
		wire := n.wire(n.Outside)
		before := n.drops("red", "icmp_unrelated")
		inner := mustFrame(t, probe.IPv6(web.Address, lab.OutsideIPv6, layers.IPProtocolUDP), probe.UDP(7, 7), payload(8))
		send(t, wire, probe.Ethernet(wire.MAC, n.routerMAC(), layers.EthernetTypeIPv6),
			probe.IPv6(lab.OutsideIPv6, web.Address, layers.IPProtocolICMPv6),
			probe.ICMPv6(layers.ICMPv6TypePacketTooBig, 0), gopacket.Payload([]byte{0, 0, 5, 0}), gopacket.Payload(inner))
		n.inTest(t).eventually(3*time.Second, func() error {
			if after := n.drops("red", "icmp_unrelated"); after != before+1 {
				return fmt.Errorf("icmp_unrelated went from %v to %v", before, after)
			}
			return nil
		})
	})
}

// TestTooBigForTheNetwork: the world's packets fit the uplink, but not a network's
// links. Its gateway says so, and the sender's kernel believes it: what it cuts
// after that arrives.
func TestTooBigForTheNetwork(t *testing.T) {
	n := start(t, lab.Config{})
	n.apply(red)
	web := n.attach("red", "web", "web-1")
	for link, on := range map[string]*lab.Machine{"near": n.Router, "far": n.Router, "eth0": n.Node} {
		n.setMTU(on, link, 3000)
	}
	n.setMTU(n.Outside, "eth0", 3000)
	server, err := n.Outside.ListenPacket("udp6", "[::]:7777")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	client, err := web.Dial(t.Context(), "udp6", netip.AddrPortFrom(lab.OutsideIPv6, 7777).String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	if _, err := client.Write([]byte("send me much")); err != nil {
		t.Fatal(err)
	}
	wire := n.wire(n.Outside)
	_ = server.SetReadDeadline(time.Now().Add(3 * time.Second))
	_, from, err := server.ReadFrom(make([]byte, 100))
	if err != nil {
		t.Fatal(err)
	}
	n.eventually(3*time.Second, func() error {
		if _, err := server.WriteTo(make([]byte, 2500), from); err != nil {
			return err
		}
		_ = client.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		got, err := client.Read(make([]byte, 4000))
		if err == nil && got != 2500 {
			err = fmt.Errorf("%d bytes, want 2500", got)
		}
		return err
	})
	told := wire.Frames(func(p gopacket.Packet) bool {
		icmp, ok := p.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6)
		return ok && icmp.TypeCode.Type() == layers.ICMPv6TypePacketTooBig
	})
	if len(told) == 0 {
		t.Fatal("nobody said packet too big")
	}
	if src, _ := netip.AddrFromSlice(told[0].NetworkLayer().NetworkFlow().Src().Raw()); src != web.Gateway() {
		t.Errorf("packet too big by %v, want the gateway %v", src, web.Gateway())
	}
}

func (n *node) setMTU(on *lab.Machine, link string, bytes int) {
	n.t.Helper()
	h, err := on.Netlink()
	if err != nil {
		n.t.Fatal(err)
	}
	defer h.Close()
	l, err := h.LinkByName(link)
	if err != nil {
		n.t.Fatal(err)
	}
	if err := h.LinkSetMTU(l, bytes); err != nil {
		n.t.Fatalf("%s: MTU of %s: %v", on.Name, link, err)
	}
}

func (n *node) inTest(t *testing.T) *node {
	inner := *n
	inner.t = t
	return &inner
}

// TestHopLimit: the fast path counts down like any router, and says so to
// those whose packets ran out.
func TestHopLimit(t *testing.T) {
	n := startTenants(t, lab.Config{})
	outside, api, web := n.wire(n.Outside), n.wire(n.api.Machine), n.wire(n.web.Machine)
	gateway := n.gateway(n.web)
	packet := func(to netip.Addr, port uint16, hops uint8) {
		ip := probe.IPv6(n.web.Address, to, layers.IPProtocolUDP)
		ip.HopLimit = hops
		send(t, web, probe.Ethernet(web.MAC, gateway.MAC, layers.EthernetTypeIPv6), ip, probe.UDP(40000, port), payload(8))
	}
	n.apply(red, strings.Replace(blue, "ports: [tcp/80]}\n", "ports: [tcp/80, udp/7777]}\n", 2))
	for name, test := range map[string]struct {
		to   netip.Addr
		wire *probe.Wire
		want uint8
	}{
		"to outside, through the node and the router": {lab.OutsideIPv6, outside, 64 - 2},
		"to another network on the node":              {n.api.Address, api, 64 - 1},
	} {
		t.Run(name, func(t *testing.T) {
			// Twice: the second packet takes the flow's cached way.
			for range 2 {
				test.wire.Forget()
				packet(test.to, 7777, 64)
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				p, err := test.wire.Wait(ctx, func(p gopacket.Packet) bool {
					udp, ok := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
					return ok && udp.DstPort == 7777
				})
				cancel()
				if err != nil {
					t.Fatal(err)
				}
				if got := p.NetworkLayer().(*layers.IPv6).HopLimit; got != test.want {
					t.Errorf("hop limit %d, want %d", got, test.want)
				}
			}
		})
	}
	t.Run("a packet whose hops ran out is told so by its gateway", func(t *testing.T) {
		web.Forget()
		packet(lab.OutsideIPv6, 7777, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		p, err := web.Wait(ctx, func(p gopacket.Packet) bool {
			icmp, ok := p.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6)
			return ok && icmp.TypeCode.Type() == layers.ICMPv6TypeTimeExceeded
		})
		if err != nil {
			t.Fatal(err)
		}
		if src, _ := netip.AddrFromSlice(p.NetworkLayer().NetworkFlow().Src().Raw()); src != n.web.Gateway() {
			t.Errorf("by %v, want the gateway %v", src, n.web.Gateway())
		}
	})
}
