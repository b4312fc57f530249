//go:build vm

package vm

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/test/lab"
)

// hooks is what status says of a lone uplink.
func hooks(t *testing.T, name, xdp string) []string {
	t.Helper()
	return []string{name + " xdp " + xdp, name + " ingress " + tcMode(t), name + " egress " + tcMode(t)}
}

func (n *node) hasUplinks(want []string) {
	n.t.Helper()
	if got := n.uplinks(); !slices.Equal(got, want) {
		n.t.Errorf("uplinks %q, want %q", got, want)
	}
}

// TestVeth is the link of every lab, on this kernel.
func TestVeth(t *testing.T) {
	s := newScene(t, "uplinks: [up0]\n", func(node, world *lab.Machine) {
		cable(t, node, "up0", world, "eth0")
		addressBoth(t, node, "up0", world, "eth0")
	})
	s.start()
	s.hasUplinks(hooks(t, "up0", "native"))
	s.behaves()
}

// TestNetkit: a pair of the kind that containers get from Linux 6.7 on. It has
// no XDP of its own, so the stack's serves.
func TestNetkit(t *testing.T) {
	if !kernelHas(t, 6, 7) {
		hasNone(t)
		return
	}
	s := newScene(t, "uplinks: [up0]\n", func(node, world *lab.Machine) {
		layNetkit(t, node, world)
		addressBoth(t, node, "up0", world, "eth0")
	})
	open(t, s.world, lab.NodeIPv4, lab.NodeIPv6)
	s.start()
	s.hasUplinks(hooks(t, "up0", "generic"))
	s.behaves()
}

// hasNone: an older kernel makes no such pair, so none can be an uplink there.
func hasNone(t *testing.T) {
	t.Helper()
	if out, err := self().Run(t.Context(), "ip", "link", "add", "up0", "type", "netkit"); err == nil {
		t.Errorf("this kernel makes netkit pairs: %s", out)
	}
}

func layNetkit(t *testing.T, node, world *lab.Machine) {
	t.Helper()
	far, err := netns.GetFromPath(world.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = far.Close() }()
	h, err := node.Netlink()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	pair := &netlink.Netkit{
		LinkAttrs: netlink.LinkAttrs{Name: "up0", HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}},
		Mode:      netlink.NETKIT_MODE_L2, Policy: netlink.NETKIT_POLICY_FORWARD, PeerPolicy: netlink.NETKIT_POLICY_FORWARD,
	}
	pair.SetPeerAttrs(&netlink.LinkAttrs{
		Name: "eth0", Namespace: netlink.NsFd(int(far)), HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 2},
	})
	if err := h.LinkAdd(pair); err != nil {
		t.Fatalf("make a netkit pair: %v", err)
	}
}

// TestVRFMember: the uplink belongs to a VRF, whose table has the host's way out;
// the main table leaks one for the tenants.
func TestVRFMember(t *testing.T) {
	s := newScene(t, "uplinks: [up0]\n", func(node, world *lab.Machine) {
		run(t, node, "ip link add vrf-up type vrf table 10", "ip link set vrf-up up")
		cable(t, node, "up0", world, "eth0")
		run(t, node, "ip link set up0 master vrf-up")
		address(t, node, "up0", lab.NodeIPv4.String()+"/24", lab.NodeIPv6.String()+"/64")
		address(t, world, "eth0", worldIPv4.String()+"/24", worldIPv6.String()+"/64")
		run(t, node, "ip -6 route add default via "+worldIPv6.String()+" dev up0")
		run(t, world, "ip -6 route add "+lab.Allocation.String()+" via "+lab.NodeIPv6.String())
	})
	s.acceptFromVRF()
	open(t, s.world, lab.NodeIPv4, lab.NodeIPv6)
	s.start()
	s.hasUplinks(hooks(t, "up0", "native"))
	closed(t, s.world, lab.NodeIPv4, lab.NodeIPv6)
	dialer := net.Dialer{Timeout: within, Control: func(_, _ string, raw syscall.RawConn) error {
		var set error
		err := raw.Control(func(fd uintptr) {
			set = unix.SetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE, "vrf-up")
		})
		return errors.Join(err, set)
	}}
	for _, a := range []netip.Addr{worldIPv4, worldIPv6} {
		conn, err := s.DialFrom(t.Context(), dialer, "tcp", netip.AddrPortFrom(a, webPort).String())
		if err != nil {
			t.Errorf("from within the VRF: %v", err)
			continue
		}
		_ = conn.Close()
	}
	s.carries()
}

// acceptFromVRF lets sockets that are bound to no VRF take its connections too.
func (s *scene) acceptFromVRF() {
	s.t.Helper()
	for _, name := range []string{"net/ipv4/tcp_l3mdev_accept", "net/ipv4/raw_l3mdev_accept"} {
		if err := s.Sysctl(name, "1"); err != nil {
			s.t.Fatal(err)
		}
	}
}

// TestDummy: an uplink that leads nowhere still says nothing unasked. What it
// would have sent, it counts.
func TestDummy(t *testing.T) {
	s := newScene(t, "uplinks: [up0]\n", func(node, _ *lab.Machine) {
		run(t, node, "ip link add up0 type dummy", "ip link set up0 addrgenmode none")
		address(t, node, "up0", lab.NodeIPv6.String()+"/64")
		run(t, node, "ip neigh add "+worldIPv6.String()+" lladdr 02:00:00:00:00:02 dev up0")
	})
	s.start()
	s.hasUplinks(hooks(t, "up0", "generic"))
	for _, c := range []struct {
		what  string
		kind  byte // of ICMPv6
		count int
	}{
		{"an echo request, which is the host's own", 128, 3},
		{"an echo reply that nobody asked for", 129, 0},
		{"a port that is closed", 1, 0},
	} {
		before := s.sent("up0")
		for range 3 {
			s.say(worldIPv6, c.kind)
		}
		time.Sleep(200 * time.Millisecond) // nothing more is on its way: a dummy has no queue
		if got := s.sent("up0") - before; got != c.count {
			t.Errorf("%s: %d of 3 left, want %d", c.what, got, c.count)
		}
	}
}

// sent is how many packets a link has sent.
func (n *node) sent(link string) int {
	n.t.Helper()
	text := run(n.t, n.Machine, "ip -s -o link show "+link)
	// … TX: bytes packets errors …\ BYTES PACKETS …
	_, text, found := strings.Cut(text, "TX:")
	_, text, more := strings.Cut(text, `\`)
	words := strings.Fields(text)
	if !found || !more || len(words) < 2 {
		n.t.Fatalf("no counters of %s: %q", link, text)
	}
	count, err := strconv.Atoi(words[1])
	if err != nil {
		n.t.Fatal(err)
	}
	return count
}

// say sends one ICMPv6 message of the host's from a raw socket.
func (n *node) say(to netip.Addr, kind byte) {
	n.t.Helper()
	err := n.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		message := append([]byte{kind, 4, 0, 0, 0, kind, 0, 1}, make([]byte, 40)...) // a query has its kind as identifier
		if kind >= 128 {
			message[1] = 0
		}
		err = unix.Sendto(fd, message, 0, &unix.SockaddrInet6{Addr: to.As16()})
		// What a program of tc drops on its way out, the socket is told.
		if err == unix.ENOBUFS || err == unix.EPERM {
			return nil
		}
		return err
	})
	if err != nil {
		n.t.Fatal(fmt.Errorf("send ICMPv6 of type %d: %w", kind, err))
	}
}
