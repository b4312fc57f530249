package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
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
