package node

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
)

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
