package node

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
)

// Addresses that the node has besides those of its uplink: as docker0 and another
// uplink would have them, and one that it answers for on behalf of a machine inside.
var (
	innerIPv4 = netip.MustParseAddr("198.51.100.7")
	innerIPv6 = netip.MustParseAddr("2001:db8:5::7")
	proxied   = netip.MustParseAddr("203.0.113.77")
)

// TestOtherLinksAddresses: on its own link the host answers for the addresses of
// that link, and for what it is told to by a proxy entry; whoever asks for what else
// it has hears nothing, and nothing that the host asks tells of it.
func TestOtherLinksAddresses(t *testing.T) {
	n := unstarted(t, lab.Config{LAN: true})
	for _, command := range [][]string{
		{"ip", "link", "add", "inner0", "type", "bridge"},
		{"ip", "addr", "add", innerIPv4.String() + "/24", "dev", "inner0"},
		{"ip", "addr", "add", innerIPv6.String() + "/64", "dev", "inner0", "nodad"},
		{"ip", "link", "set", "inner0", "up"},
		{"ip", "route", "add", proxied.String(), "dev", "inner0"},
		{"ip", "neigh", "add", "proxy", proxied.String(), "dev", "eth0"},
	} {
		if out, err := n.Node.Run(t.Context(), command[0], command[1:]...); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	if err := n.Node.Sysctl("net/ipv4/conf/eth0/forwarding", "1"); err != nil {
		t.Fatal(err)
	}
	before := n.arpSysctls()
	wire, node := n.wire(n.LAN), n.wire(n.Node)
	if !n.answersFor(wire, node.MAC, innerIPv4) {
		t.Fatal("without a daemon a plain kernel does not answer either: the question proves nothing")
	}
	daemon, err := n.StartDaemon(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n.daemon = daemon
	for _, row := range []struct {
		name    string
		address netip.Addr
		answers bool
	}{
		{"its own IPv4 address", lab.NodeIPv4, true},
		{"its own IPv6 address", lab.NodeIPv6, true},
		{"a proxy entry", proxied, true},
		{"another link's IPv4 address", innerIPv4, false},
		{"another link's IPv6 address", innerIPv6, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			n := n.inTest(t)
			if got := n.answersFor(wire, node.MAC, row.address); got != row.answers {
				t.Errorf("asked for %v, it answers: %v, want %v", row.address, got, row.answers)
			}
		})
	}
	t.Run("asks with no other link's address", func(t *testing.T) {
		n := n.inTest(t)
		wire.Forget()
		unused := netip.MustParseAddr("192.0.2.99")
		if !netip.PrefixFrom(lab.NodeIPv4, 24).Contains(unused) {
			t.Fatalf("%v is not on the node's link", unused)
		}
		_, _ = n.Node.Run(t.Context(), "ping", "-c1", "-W1", "-I", innerIPv4.String(), unused.String())
		asked := wire.Frames(func(p gopacket.Packet) bool {
			arp, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP)
			return ok && arp.Operation == layers.ARPRequest && net.IP(arp.DstProtAddress).Equal(unused.AsSlice())
		})
		if len(asked) == 0 {
			t.Fatal("the node did not ask for its neighbour")
		}
		for _, p := range asked {
			if arp := p.Layer(layers.LayerTypeARP).(*layers.ARP); net.IP(arp.SourceProtAddress).Equal(innerIPv4.AsSlice()) {
				t.Errorf("it asked with an address of another link:\n%v", p)
			}
		}
	})
	t.Run("somebody switches it off", func(t *testing.T) {
		n := n.inTest(t)
		if err := n.Node.Sysctl("net/ipv4/conf/eth0/arp_ignore", "0"); err != nil {
			t.Fatal(err)
		}
		n.eventually(repairWithin, func() error { return n.ignores("1") })
	})
	t.Run("no uplink any more, it is as it was", func(t *testing.T) {
		n := n.inTest(t)
		n.rewrite("uplinks: [eth0]", "uplinks: [eth9]")
		n.eventually(repairWithin, func() error { return n.ignores(before["arp_ignore"]) })
		if after := n.arpSysctls(); after["arp_announce"] != before["arp_announce"] {
			t.Errorf("arp_announce is %q, was %q", after["arp_announce"], before["arp_announce"])
		}
	})
}

// answersFor asks for an address on a link, by ARP or by a solicitation, and tells
// whether the machine with a MAC answers. The question goes to that machine alone,
// so that it need not be in the address's multicast group.
func (n *node) answersFor(wire *probe.Wire, mac net.HardwareAddr, address netip.Addr) bool {
	n.t.Helper()
	wire.Forget()
	if address.Is4() {
		send(n.t, wire, probe.Ethernet(wire.MAC, mac, layers.EthernetTypeARP), &layers.ARP{
			AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
			Operation: layers.ARPRequest, SourceHwAddress: wire.MAC, SourceProtAddress: lab.LANIPv4.AsSlice(),
			DstHwAddress: make([]byte, 6), DstProtAddress: address.AsSlice(),
		})
	} else {
		send(n.t, wire, probe.Ethernet(wire.MAC, mac, layers.EthernetTypeIPv6),
			probe.NDIPv6(lab.LANIPv6, probe.SolicitedNode(address)),
			probe.ICMPv6(layers.ICMPv6TypeNeighborSolicitation, 0), probe.NeighborSolicitation(address, wire.MAC))
	}
	ctx, cancel := context.WithTimeout(n.t.Context(), 1500*time.Millisecond)
	defer cancel()
	_, err := wire.Wait(ctx, func(p gopacket.Packet) bool { return speaksFor(p, address) })
	return err == nil
}

// speaksFor tells an ARP reply or a neighbour advertisement about an address.
func speaksFor(p gopacket.Packet, address netip.Addr) bool {
	if arp, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP); ok {
		return arp.Operation == layers.ARPReply && net.IP(arp.SourceProtAddress).Equal(address.AsSlice())
	}
	na, ok := p.Layer(layers.LayerTypeICMPv6NeighborAdvertisement).(*layers.ICMPv6NeighborAdvertisement)
	return ok && na.TargetAddress.Equal(address.AsSlice())
}

// arpSysctls are the values of the node's uplink.
func (n *node) arpSysctls() map[string]string {
	n.t.Helper()
	values := map[string]string{}
	for _, key := range []string{"arp_ignore", "arp_announce"} {
		out, err := n.Node.Run(n.t.Context(), "cat", "/proc/sys/net/ipv4/conf/eth0/"+key)
		if err != nil {
			n.t.Fatal(err)
		}
		values[key] = strings.TrimSpace(out)
	}
	return values
}

// ignores is an error unless the uplink's arp_ignore has a value.
func (n *node) ignores(want string) error {
	if got := n.arpSysctls()["arp_ignore"]; got != want {
		return fmt.Errorf("arp_ignore is %q, want %q", got, want)
	}
	return nil
}

// rewrite changes the node's document and has the daemon read it again.
func (n *node) rewrite(old, now string) {
	n.t.Helper()
	document, err := os.ReadFile(n.daemon.Config())
	if err != nil {
		n.t.Fatal(err)
	}
	changed := strings.Replace(string(document), old, now, 1)
	if changed == string(document) {
		n.t.Fatalf("no %q in\n%s", old, document)
	}
	if err := os.WriteFile(n.daemon.Config(), []byte(changed), 0o644); err != nil {
		n.t.Fatal(err)
	}
	if err := unix.Kill(n.daemon.PID(), unix.SIGHUP); err != nil {
		n.t.Fatal(err)
	}
}
