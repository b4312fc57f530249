package loader

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/spec"
)

// Early in a boot: what the failsafe allows comes in through the uplink, nothing
// through an interface that nobody has locked, until the daemon knows it.
func TestEarly(t *testing.T) {
	enter(t)
	up, other := veth(t, "up0", "world0"), veth(t, "other0", "world1")
	for _, dev := range []netlink.Link{up, other} {
		must(t, netlink.AddrAdd(dev, &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(hostIPv4), Mask: net.CIDRMask(24, 32)}}))
	}
	allowed, denied := listen(t, allowedPort), listen(t, deniedPort)
	options := EarlyOptions{
		Options: Options{BPFFS: bpffs(t)},
		Uplinks: []string{"up0", "later0"}, // one is not there yet
		Allow: []spec.LockdownAllow{{
			From:  netip.MustParsePrefix("192.0.2.0/24"),
			Ports: []spec.Ports{{Proto: spec.ProtoUDP, First: allowedPort, Last: allowedPort}},
		}},
	}
	must(t, Early(options))
	assertKnown(t, up)

	arrives := func(through netlink.Link, peer string, port uint16, l *listener, want bool) {
		t.Helper()
		before := l.received.Load()
		marker := allowed.received.Load()
		send(t, peer, through, port)
		send(t, "world0", up, allowedPort) // comes after it, and always arrives
		wanted := marker + 1
		if l == allowed && want {
			wanted++
		}
		waitFor(t, "what is allowed", func() bool { return allowed.received.Load() >= wanted })
		got := l.received.Load() > before
		if l == allowed {
			got = allowed.received.Load() > marker+1
		}
		if got != want {
			t.Errorf("port %d through %s: arrived %v, wanted %v", port, through.Attrs().Name, got, want)
		}
	}
	arrives(up, "world0", allowedPort, allowed, true)
	arrives(up, "world0", deniedPort, denied, false)
	arrives(other, "world1", allowedPort, allowed, false)
	arrives(other, "world1", deniedPort, denied, false)

	must(t, PutBackstop([]uint32{uint32(up.Attrs().Index), uint32(other.Attrs().Index)}))
	assertKnown(t, up, other)
	arrives(other, "world1", deniedPort, denied, true) // now it is somebody's to judge
	options.Allow = nil
	must(t, Early(options)) // beside a daemon: changes nothing
	assertKnown(t, up, other)
	arrives(up, "world0", allowedPort, allowed, true)

	must(t, PutBackstop([]uint32{uint32(up.Attrs().Index)}))
	assertKnown(t, up)
	must(t, RemoveBackstop())
	must(t, RemoveBackstop()) // again
	if _, present, err := Backstop(); present || err != nil {
		t.Errorf("after RemoveBackstop: present %v, %v", present, err)
	}
}

func assertKnown(t *testing.T, want ...netlink.Link) {
	t.Helper()
	known, present, err := Backstop()
	must(t, err)
	var indexes []uint32
	for _, l := range want {
		indexes = append(indexes, uint32(l.Attrs().Index))
	}
	slices.Sort(indexes)
	if !present || !slices.Equal(known, indexes) {
		t.Errorf("backstop: present %v, knows %v, wanted %v", present, known, indexes)
	}
}

// send sends one datagram to the host from the far end of a cable.
func send(t *testing.T, peer string, near netlink.Link, port uint16) {
	t.Helper()
	far, err := netlink.LinkByName(peer)
	must(t, err)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	must(t, err)
	defer func() { _ = unix.Close(fd) }()
	f := frame(far.Attrs().HardwareAddr, near.Attrs().HardwareAddr, port, shortPayload)
	must(t, unix.Sendto(fd, f, 0, &unix.SockaddrLinklayer{Ifindex: far.Attrs().Index}))
}

// A failsafe that the daemon has set since the boot is not set back.
func TestEarlyKeepsTheDaemonsLockdown(t *testing.T) {
	enter(t)
	veth(t, "up0", "world0")
	options := EarlyOptions{
		Options: Options{BPFFS: bpffs(t)}, Uplinks: []string{"up0"},
		Allow: []spec.LockdownAllow{{From: netip.MustParsePrefix("::/0"), Ports: []spec.Ports{{Any: true}}}},
	}
	d := openDatapath(t, options.Options)
	must(t, d.Maps().SetLockdown(7))
	must(t, Early(options))
	node, err := d.Maps().ReadNode()
	must(t, err)
	if node.Lockdown != 7 {
		t.Errorf("lockdown version %d, the daemon had set 7", node.Lockdown)
	}
}
