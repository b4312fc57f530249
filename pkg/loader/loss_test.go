package loader

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/spec"
)

const (
	allowedPort = 9000
	deniedPort  = 9001
	hostIPv4    = "192.0.2.1"
)

// Fifty replacements of every program under traffic: no packet of what the
// lockdown allows is lost, none of what it denies comes through.
func TestReplacingLosesNothing(t *testing.T) {
	for way, options := range ways {
		t.Run(way, func(t *testing.T) {
			enter(t)
			options.BPFFS = bpffs(t)
			up := veth(t, "up0", "world0")
			must(t, netlink.AddrAdd(up, &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(hostIPv4), Mask: net.CIDRMask(24, 32)}}))
			allowed, denied := listen(t, allowedPort), listen(t, deniedPort)
			one, two := openDatapath(t, options), openDatapath(t, options)
			must(t, one.Maps().PutLockdown(1, []spec.LockdownAllow{{
				From:  netip.MustParsePrefix("192.0.2.0/24"),
				Ports: []spec.Ports{{Proto: spec.ProtoUDP, First: allowedPort, Last: allowedPort}},
			}}))
			must(t, one.Maps().SetLockdown(1))
			_, err := one.AttachUplink("up0")
			must(t, err)

			sender := newSender(t, up, allowed)
			for i := range 50 {
				each := []*Datapath{one, two}[i%2]
				before := sender.sent.Load()
				must(t, each.replacePrograms())
				waitFor(t, "traffic to go on", func() bool { return sender.sent.Load() > before+20 })
				if t.Failed() {
					break
				}
			}
			sent := sender.stop()
			waitFor(t, "all that was sent", func() bool { return allowed.received.Load() >= sent })
			if got := allowed.received.Load(); got != sent || sent < 1000 {
				t.Errorf("%d packets sent, %d received", sent, got)
			}
			if got := denied.received.Load(); got != 0 {
				t.Errorf("%d packets came through that the lockdown denies", got)
			}
		})
	}
}

// waitFor waits at most 30 s; what did not come is for the caller's check.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !done() {
		if time.Now().After(deadline) {
			t.Errorf("waited 30 s for %s", what)
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// listener counts datagrams.
type listener struct{ received atomic.Uint64 }

func listen(t *testing.T, port uint16) *listener {
	t.Helper()
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(hostIPv4), port)))
	must(t, err)
	must(t, conn.SetReadBuffer(1<<20))
	l := &listener{}
	go func() {
		buffer := make([]byte, 2048)
		for {
			if _, _, err := conn.ReadFromUDPAddrPort(buffer); err != nil {
				return
			}
			l.received.Add(1)
		}
	}()
	t.Cleanup(func() { _ = conn.Close() })
	return l
}

// sender sends pairs of frames from the far end of the cable: one to each port.
type sender struct {
	sent atomic.Uint64
	quit chan struct{}
	done chan struct{}
}

// shortPayload makes a frame of 60 bytes, the shortest that Ethernet has.
const shortPayload = 18

// window is how many packets may be under way. The cable itself, a veth, loses
// what does not fit its ring of 256.
const window = 64

func newSender(t *testing.T, up netlink.Link, to *listener) *sender {
	t.Helper()
	world, err := netlink.LinkByName("world0")
	must(t, err)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	must(t, err)
	cable := &unix.SockaddrLinklayer{Ifindex: world.Attrs().Index}
	frames := [][]byte{
		frame(world.Attrs().HardwareAddr, up.Attrs().HardwareAddr, deniedPort, shortPayload),
		frame(world.Attrs().HardwareAddr, up.Attrs().HardwareAddr, allowedPort, shortPayload),
	}
	s := &sender{quit: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		defer func() { _ = unix.Close(fd) }()
		tick := time.NewTicker(100 * time.Microsecond)
		defer tick.Stop()
		for {
			select {
			case <-s.quit:
				return
			case <-tick.C:
			}
			if s.sent.Load()-to.received.Load() >= window {
				continue
			}
			for i, f := range frames {
				if err := unix.Sendto(fd, f, 0, cable); err != nil {
					t.Errorf("send: %v", err)
					return
				}
				s.sent.Add(uint64(i)) // the second is the one that must arrive
			}
		}
	}()
	return s
}

func (s *sender) stop() uint64 {
	close(s.quit)
	<-s.done
	return s.sent.Load()
}

// frame gives an Ethernet frame with a UDP datagram from 192.0.2.2 to the host.
func frame(from, to net.HardwareAddr, port uint16, payload int) []byte {
	f := append(append([]byte{}, to...), from...)
	f = binary.BigEndian.AppendUint16(f, unix.ETH_P_IP)
	ip := []byte{0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, unix.IPPROTO_UDP, 0, 0, 192, 0, 2, 2, 192, 0, 2, 1}
	binary.BigEndian.PutUint16(ip[2:], uint16(28+payload))
	binary.BigEndian.PutUint16(ip[10:], checksum(ip))
	f = append(f, ip...)
	f = binary.BigEndian.AppendUint16(f, 40000)
	f = binary.BigEndian.AppendUint16(f, port)
	f = binary.BigEndian.AppendUint16(f, uint16(8+payload))
	f = binary.BigEndian.AppendUint16(f, 0) // no UDP checksum (RFC 768)
	return append(f, make([]byte, payload)...)
}

// checksum is the Internet checksum (RFC 1071).
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
