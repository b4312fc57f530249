package apply

import (
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"

	bpf "github.com/zosnet/zosnet/pkg/maps"
	"github.com/zosnet/zosnet/pkg/plan"
)

// machine is a VM's card: what a tap sends and gets.
type machine struct {
	t    *testing.T
	tap  *os.File
	plan plan.Workload
}

func startMachine(t *testing.T, w plan.Workload) *machine {
	t.Helper()
	fd := openTap(t, w.Interface)
	check(t, unix.SetNonblock(fd, true))
	m := &machine{t, os.NewFile(uintptr(fd), w.Interface), w}
	t.Cleanup(func() { _ = m.tap.Close() })
	return m
}

// virtioHeader is what stands before each frame (virtio_net_hdr, no offload).
var virtioHeader [10]byte

// claim asks whether an address is free, as DAD does (RFC 4862, 5.4.2): by that the
// datapath learns whose it is.
func (m *machine) claim(address netip.Addr) {
	m.t.Helper()
	raw := address.As16()
	group := netip.AddrFrom16([16]byte{0xff, 2, 11: 1, 12: 0xff, 13: raw[13], 14: raw[14], 15: raw[15]})
	m.send(netip.IPv6Unspecified(), group, layers.ICMPv6TypeNeighborSolicitation,
		&layers.ICMPv6NeighborSolicitation{TargetAddress: address.AsSlice()})
}

// solicit asks for routers, from an address with its MAC (RFC 4861, 4.1).
func (m *machine) solicit(from netip.Addr) {
	m.t.Helper()
	body := &layers.ICMPv6RouterSolicitation{}
	if !from.IsUnspecified() {
		body.Options = layers.ICMPv6Options{{Type: layers.ICMPv6OptSourceAddress, Data: m.plan.MAC[:]}}
	}
	m.send(from, netip.MustParseAddr("ff02::2"), layers.ICMPv6TypeRouterSolicitation, body)
}

func (m *machine) send(from, to netip.Addr, kind uint8, body gopacket.SerializableLayer) {
	m.t.Helper()
	group := to.As16()
	ip := &layers.IPv6{Version: 6, HopLimit: 255, NextHeader: layers.IPProtocolICMPv6, SrcIP: from.AsSlice(), DstIP: to.AsSlice()}
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(kind, 0)}
	check(m.t, icmp.SetNetworkLayerForChecksum(ip))
	buffer := gopacket.NewSerializeBuffer()
	check(m.t, gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		&layers.Ethernet{SrcMAC: m.plan.MAC[:], DstMAC: append(net.HardwareAddr{0x33, 0x33}, group[12:]...),
			EthernetType: layers.EthernetTypeIPv6}, ip, icmp, body))
	_, err := m.tap.Write(append(virtioHeader[:], buffer.Bytes()...))
	check(m.t, err)
}

// hears tells whether a router advertisement that fits comes in time.
func (m *machine) hears(within time.Duration, fits func(*layers.IPv6, *layers.ICMPv6RouterAdvertisement) bool) bool {
	if err := m.tap.SetReadDeadline(time.Now().Add(within)); err != nil {
		return false
	}
	frame := make([]byte, 4096)
	for {
		n, err := m.tap.Read(frame)
		if err != nil {
			return false
		}
		packet := gopacket.NewPacket(frame[len(virtioHeader):n], layers.LayerTypeEthernet, gopacket.Default)
		ip, _ := packet.Layer(layers.LayerTypeIPv6).(*layers.IPv6)
		ra, found := packet.Layer(layers.LayerTypeICMPv6RouterAdvertisement).(*layers.ICMPv6RouterAdvertisement)
		if found && fits(ip, ra) {
			return true
		}
	}
}

// TestAdvertise: a VM that asks learns its router, also after the daemon or the
// bridge was made anew; when its network goes it is told.
func TestAdvertise(t *testing.T) {
	if elsewhere(t) {
		return
	}
	n := startNode(t)
	s := grid{networks: []string{"acme"}, attachments: []plan.Attachment{tap("acme", "vm", "vm0", 256)}}.state(t)
	n.apply(s)
	vm := startMachine(t, ofTenants(s)[0])
	asked := func(ip *layers.IPv6, ra *layers.ICMPv6RouterAdvertisement) bool {
		if ip.HopLimit != 255 || ip.SrcIP.String() != "fe80::1" || ra.RouterLifetime != 9000 {
			t.Errorf("heard %+v in %+v", ra, ip)
		}
		return ip.DstIP.Equal(ofTenants(s)[0].LinkLocal.AsSlice())
	}
	answered := func(what string) {
		t.Helper()
		eventually(t, 20*time.Second, what, func() bool {
			vm.solicit(ofTenants(s)[0].LinkLocal)
			return vm.hears(time.Second, asked)
		})
	}
	eventually(t, 20*time.Second, "the VM has its address", func() bool {
		vm.claim(ofTenants(s)[0].LinkLocal)
		all, err := n.datapath.Maps().AllBindings()
		check(t, err)
		_, bound := all[bpf.BindingOf(ofTenants(s)[0].LinkLocal, 1)]
		return bound
	})
	answered("a VM that asks is answered")
	vm.solicit(netip.IPv6Unspecified())
	if !vm.hears(20*time.Second, func(ip *layers.IPv6, _ *layers.ICMPv6RouterAdvertisement) bool {
		return ip.DstIP.String() == "ff02::1"
	}) {
		t.Error("a VM without an address heard nothing")
	}

	n.restart()
	n.apply(s)
	answered("a VM that asks is answered after a restart")

	told := make(chan bool)
	go func() {
		told <- vm.hears(20*time.Second, func(_ *layers.IPv6, ra *layers.ICMPv6RouterAdvertisement) bool { return ra.RouterLifetime == 0 })
	}()
	n.apply(grid{}.state(t))
	if !<-told {
		t.Error("a VM was not told that its router is no more")
	}
}
