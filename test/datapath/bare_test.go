package datapath

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/maps"
)

// newTun makes an interface without an Ethernet header, as PPP and modems are, and
// gives the file by which a packet comes in there and goes out.
func (m *machine) newTun(name string) *os.File {
	m.t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	must(m.t, err)
	request, err := unix.NewIfreq(name)
	must(m.t, err)
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	must(m.t, unix.IoctlIfreq(fd, unix.TUNSETIFF, request))
	file := os.NewFile(uintptr(fd), name)
	m.t.Cleanup(func() { _ = file.Close() })
	return file
}

// openWire gives a file that reads whole frames of an interface and writes them.
func (m *machine) openWire(ifname string) *os.File {
	m.t.Helper()
	link, err := netlink.LinkByName(ifname)
	must(m.t, err)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	must(m.t, err)
	everything := uint16(unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8)
	must(m.t, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: everything, Ifindex: link.Attrs().Index}))
	file := os.NewFile(uintptr(fd), ifname)
	m.t.Cleanup(func() { _ = file.Close() })
	return file
}

// awaitPacket reads until a packet ends as wanted, and gives it.
func (m *machine) awaitPacket(from *os.File, what string, end []byte) []byte {
	m.t.Helper()
	must(m.t, from.SetReadDeadline(time.Now().Add(5*time.Second)))
	buffer := make([]byte, 2048)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			m.t.Fatalf("%s: %v", what, err)
		}
		if bytes.HasSuffix(buffer[:n], end) {
			return buffer[:n]
		}
	}
}

// An uplink without an Ethernet header is locked down like any other, the host's own
// flows pass it, and tenants' packets go in and out by it.
func TestAnUplinkWithoutEthernet(t *testing.T) {
	m := newMachine(t, plain, `
network: globex
nodes: [n1]
services: {api: {ports: [tcp/80]}}
expose:
  - {service: api, ports: [udp/7]}
`)
	tun := m.newTun("tun0")
	link, err := netlink.LinkByName("tun0")
	must(t, err)
	own := netip.MustParseAddr("2001:db8:7::1")
	must(t, netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: own.AsSlice(), Mask: net.CIDRMask(64, 128)}, Flags: unix.IFA_F_NODAD}))
	must(t, netlink.LinkSetUp(link))
	m.waitLocal(&net.IPNet{IP: own.AsSlice(), Mask: net.CIDRMask(128, 128)})
	must(t, netlink.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}, Priority: 1}))
	attached, err := m.datapath.AttachUplink("tun0")
	must(t, err)
	if len(attached) != 3 {
		t.Fatalf("attached %+v", attached)
	}
	bare := func(f frame) []byte { return f.from(maps.MAC{}, maps.MAC{}).bytes(t)[14:] }

	socket, err := net.ListenUDP("udp6", net.UDPAddrFromAddrPort(netip.AddrPortFrom(own, 6000)))
	must(t, err)
	t.Cleanup(func() { _ = socket.Close() })
	before := m.dropCounts()[blame{0, "lockdown"}]
	_, err = tun.Write(bare(udp(world, own, 999, 6000)))
	must(t, err)
	if dropped := m.dropCounts()[blame{0, "lockdown"}] - before; dropped != 1 {
		t.Errorf("a stranger's packet: %d dropped by the lockdown", dropped)
	}
	_, err = socket.WriteToUDPAddrPort([]byte("question"), netip.AddrPortFrom(world, 53))
	must(t, err)
	m.awaitPacket(tun, "the host's question", []byte("question"))
	_, err = tun.Write(bare(udp(world, own, 53, 6000)))
	must(t, err)
	must(t, socket.SetReadDeadline(time.Now().Add(5*time.Second)))
	buffer := make([]byte, 64)
	if n, from, err := socket.ReadFromUDPAddrPort(buffer); err != nil || string(buffer[:n]) != "hello" || from.Port() != 53 {
		t.Errorf("the host's answer: %q from %s, %v", buffer[:n], from, err)
	}

	m.asPort(m.api)
	wire := m.openWire("zwapip")
	_, err = m.datapath.AttachWorkload("zwapi")
	must(t, err)
	_, err = tun.Write(bare(udp(world, m.api.address, 999, 7)))
	must(t, err)
	got := m.awaitPacket(wire, "a packet for a workload", []byte("hello"))
	if [6]byte(got[:6]) != m.api.mac.Bytes || [6]byte(got[6:12]) != gatewayMAC.Bytes || got[12] != 0x86 || got[21] != 63 {
		t.Errorf("it arrives as % x", got[:22])
	}
	for range 2 { // the first asks for a neighbour that there is none of
		_, err = wire.Write(udp(m.api.address, world, 7, 999).from(m.api.mac, gatewayMAC).bytes(t))
		must(t, err)
		got = m.awaitPacket(tun, "its answer", []byte("hello"))
		if got[0]>>4 != 6 || got[7] != 63 {
			t.Errorf("it leaves as % x", got[:40])
		}
	}
}

// asPort makes a workload one whose packets go out of its interface like a VM's,
// which needs no namespace at the other end.
func (m *machine) asPort(w *workload) {
	m.t.Helper()
	_, err := m.maps.SetBindings(w.network, map[maps.BindingKey]maps.Binding{
		maps.BindingOf(w.address, w.network): {Network: w.network, Service: w.service, Workload: w.host,
			Ifindex: w.ifindex, Kind: maps.PortTap, Mac: w.mac},
	})
	must(m.t, err)
}
