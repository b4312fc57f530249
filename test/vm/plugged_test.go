//go:build vm

package vm

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
)

// The addresses of the card that is plugged in.
var (
	laterIPv4 = netip.MustParseAddr("203.0.113.10")
	laterIPv6 = netip.MustParseAddr("2001:db8:4::10")
)

// TestPluggedIn pulls a card out and plugs it in again while the daemon runs.
// It has addresses in the moment in which it appears, and a stranger at the other
// end of its cable knocks all the time: he hears what every machine says on a
// link, and no answer. The daemon locks it under whatever name it has then. The
// node is the guest itself, since a card appears nowhere else.
func TestPluggedIn(t *testing.T) {
	stranger := machine(t, "stranger")
	takeCard(t, "eth3", stranger)
	run(t, stranger, "ip link set eth3 up")
	guest := self()
	serve(t, guest, everywhere(sshPort))
	n := newNode(t, guest, "lockdown: {allow: [{from: 192.0.2.0/24, ports: [any]}]}\n")
	card := linkMAC(t, guest, "eth2")
	device, err := filepath.EvalSymlinks("/sys/class/net/eth2/device/..")
	if err != nil {
		t.Fatal(err)
	}

	// Without a lockdown he is answered, so what he hears later means something.
	addressLater(t, "eth2")
	k := knock(t, stranger, "eth3", card)
	eventually(t, 10*time.Second, func() error { return k.hasHeard(4) })

	n.early()
	n.start()
	if !slices.Contains(n.uplinks(), "eth2 xdp native") {
		t.Fatalf("uplinks %q", n.uplinks())
	}
	k.wire.Forget()
	plug(t, device)
	name := ""
	eventually(t, 10*time.Second, func() error {
		name, err = linkWith(card)
		return err
	})
	addressLater(t, name)
	eventually(t, 10*time.Second, func() error {
		if want := name + " xdp native"; !slices.Contains(n.uplinks(), want) {
			return fmt.Errorf("uplinks %q, want %s", n.uplinks(), want)
		}
		return nil
	})
	knocked := k.sent.Load()
	eventually(t, 10*time.Second, func() error {
		if k.sent.Load() < knocked+100 {
			return fmt.Errorf("%d knocks since", k.sent.Load()-knocked)
		}
		return nil
	})
	if heard := k.heard(); len(heard) > 0 {
		t.Errorf("the stranger heard %d answers, the first:\n%v", len(heard), heard[0])
	}
	if k.linkTalk() == 0 {
		t.Error("he heard nothing of the link either: is he cabled to it?")
	}
}

// plug removes the card from its bus and has the bus looked at again.
func plug(t *testing.T, device string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(device, "remove"), []byte("1"), 0o200); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("/sys/bus/pci/rescan", []byte("1"), 0o200); err != nil {
		t.Fatal(err)
	}
}

// linkWith gives the name of the guest's link that has a MAC.
func linkWith(mac net.HardwareAddr) (string, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return "", err
	}
	defer h.Close()
	links, err := h.LinkList()
	if err != nil {
		return "", err
	}
	for _, l := range links {
		if bytes.Equal(l.Attrs().HardwareAddr, mac) {
			return l.Attrs().Name, nil
		}
	}
	return "", fmt.Errorf("no link has the MAC %v", mac)
}

func addressLater(t *testing.T, name string) {
	t.Helper()
	address(t, self(), name, laterIPv4.String()+"/24", laterIPv6.String()+"/64")
}

// knocker sends a host all that a host may answer, again and again.
type knocker struct {
	wire   *probe.Wire
	target net.HardwareAddr
	sent   atomic.Uint64
}

func knock(t *testing.T, from *lab.Machine, link string, target net.HardwareAddr) *knocker {
	t.Helper()
	wire, err := probe.OpenWire(from, link)
	if err != nil {
		t.Fatal(err)
	}
	k := &knocker{wire: wire, target: target}
	frames := k.frames(t)
	stop, stopped := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() {
		close(stop)
		<-stopped
		wire.Close()
	})
	go func() {
		defer close(stopped)
		for tick := time.NewTicker(20 * time.Millisecond); ; {
			select {
			case <-stop:
				tick.Stop()
				return
			case <-tick.C:
			}
			for _, frame := range frames {
				if wire.Send(frame) == nil {
					k.sent.Add(1)
				}
			}
		}
	}()
	return k
}

// frames are an echo request, a connection to an open port and a datagram to a
// closed one, of each family. Nobody has to be asked for an address on the way;
// the answer asks, and is told.
func (k *knocker) frames(t *testing.T) [][]byte {
	t.Helper()
	from4, from6 := netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("2001:db8:4::1")
	ether := func(kind layers.EthernetType) *layers.Ethernet { return probe.Ethernet(k.wire.MAC, k.target, kind) }
	const closedPort = 9
	var frames [][]byte
	for _, stack := range [][]gopacket.SerializableLayer{
		{ether(layers.EthernetTypeIPv4), probe.IPv4(from4, laterIPv4, layers.IPProtocolICMPv4),
			&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeEchoRequest, 0), Id: 7, Seq: 7}},
		{ether(layers.EthernetTypeIPv4), probe.IPv4(from4, laterIPv4, layers.IPProtocolTCP), probe.SYN(40000, sshPort)},
		{ether(layers.EthernetTypeIPv4), probe.IPv4(from4, laterIPv4, layers.IPProtocolUDP), probe.UDP(40000, closedPort)},
		{ether(layers.EthernetTypeIPv6), probe.IPv6(from6, laterIPv6, layers.IPProtocolICMPv6),
			probe.ICMPv6(layers.ICMPv6TypeEchoRequest, 0), probe.EchoRequest(7, 7)},
		{ether(layers.EthernetTypeIPv6), probe.IPv6(from6, laterIPv6, layers.IPProtocolTCP), probe.SYN(40000, sshPort)},
		{ether(layers.EthernetTypeIPv6), probe.IPv6(from6, laterIPv6, layers.IPProtocolUDP), probe.UDP(40000, closedPort)},
		// Where his addresses are, as a neighbour says it.
		{ether(layers.EthernetTypeIPv6), probe.NDIPv6(from6, laterIPv6), probe.ICMPv6(layers.ICMPv6TypeNeighborSolicitation, 0),
			probe.NeighborSolicitation(laterIPv6, k.wire.MAC)},
		{ether(layers.EthernetTypeARP), &layers.ARP{
			AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
			Operation: layers.ARPRequest, SourceHwAddress: k.wire.MAC, SourceProtAddress: from4.AsSlice(),
			DstHwAddress: make([]byte, 6), DstProtAddress: laterIPv4.AsSlice(),
		}},
	} {
		frame, err := probe.Frame(stack...)
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, frame)
	}
	return frames
}

// isAnswer tells what a host says to a stranger, and not just on its link.
func isAnswer(p gopacket.Packet) bool {
	if p.Layer(layers.LayerTypeTCP) != nil || p.Layer(layers.LayerTypeUDP) != nil || p.Layer(layers.LayerTypeICMPv4) != nil {
		return true
	}
	icmp, ok := p.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6)
	if !ok {
		return false
	}
	kind := icmp.TypeCode.Type()
	return kind < layers.ICMPv6TypeEchoRequest || kind == layers.ICMPv6TypeEchoReply
}

func (k *knocker) heard() []gopacket.Packet { return k.wire.Frames(isAnswer) }

// hasHeard wants so many kinds of answers.
func (k *knocker) hasHeard(kinds int) error {
	different := map[string]bool{}
	for _, p := range k.heard() {
		different[p.NetworkLayer().LayerType().String()+" "+p.Layers()[2].LayerType().String()] = true
	}
	if len(different) < kinds {
		return fmt.Errorf("without a lockdown the stranger hears %v", different)
	}
	return nil
}

// linkTalk counts what the host says as every host does on a link: neighbour
// advertisements and answers to ARP.
func (k *knocker) linkTalk() int {
	return len(k.wire.Frames(func(p gopacket.Packet) bool {
		return p.Layer(layers.LayerTypeARP) != nil || p.Layer(layers.LayerTypeICMPv6NeighborAdvertisement) != nil
	}))
}
