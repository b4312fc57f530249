package loader

import (
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/maps"
	"github.com/zosnet/zosnet/pkg/spec"
)

// An uplink whose frames are longer than a page is judged in its driver like any
// other: what the lockdown denies is dropped there, and what it allows arrives whole.
func TestJumboUplink(t *testing.T) {
	const mtu, payload = 9000, 8000
	enter(t)
	up := veth(t, "up0", "world0")
	world, err := netlink.LinkByName("world0")
	must(t, err)
	for _, l := range []netlink.Link{up, world} {
		must(t, netlink.LinkSetMTU(l, mtu))
	}
	// Its own reports and solicitations would be counted with the test's frames.
	must(t, os.WriteFile("/proc/sys/net/ipv6/conf/world0/disable_ipv6", []byte("1"), 0))
	must(t, netlink.AddrAdd(up, &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(hostIPv4), Mask: net.CIDRMask(24, 32)}}))
	d := openDatapath(t, Options{BPFFS: bpffs(t)})
	attached, err := d.AttachUplink("up0")
	must(t, err)
	if len(attached) != 3 || attached[2].Mode != "native" {
		t.Fatalf("attached %q", shown(attached))
	}
	must(t, d.Maps().PutLockdown(1, []spec.LockdownAllow{{
		From:  netip.MustParsePrefix("192.0.2.0/24"),
		Ports: []spec.Ports{{Proto: spec.ProtoUDP, First: allowedPort, Last: allowedPort}},
	}}))
	must(t, d.Maps().SetLockdown(1))

	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(hostIPv4), allowedPort)))
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	must(t, err)
	t.Cleanup(func() { must(t, unix.Close(fd)) })
	for _, port := range []uint16{deniedPort, allowedPort} {
		f := frame(world.Attrs().HardwareAddr, up.Attrs().HardwareAddr, port, payload)
		must(t, unix.Sendto(fd, f, 0, &unix.SockaddrLinklayer{Ifindex: world.Attrs().Index}))
	}
	n, err := conn.Read(make([]byte, mtu))
	if err != nil || n != payload {
		t.Errorf("%d bytes arrived of %d: %v", n, payload, err)
	}
	drops, err := d.Maps().ReadLockdownDrops()
	must(t, err)
	var got maps.Counter
	for reason, c := range drops {
		if reason.String() == "lockdown" {
			got = c
		}
	}
	if got.Packets != 1 || got.Bytes != 14+20+8+payload {
		t.Errorf("dropped in the driver: %+v", got)
	}
}
