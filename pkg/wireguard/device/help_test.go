package device

import (
	"errors"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/test/probe"
)

func prefix(text string) netip.Prefix { return netip.MustParsePrefix(text) }

func addrPort(n *node, port uint16) netip.AddrPort { return netip.AddrPortFrom(n.inner(), port) }

// reaches fails unless a ping to a node's part of the network is answered.
func (n *node) reaches(to *node) {
	n.scene.t.Helper()
	outcome, err := probe.Ping(n.Machine, to.inner(), 20*time.Second)
	check(n.scene.t, err)
	if outcome != probe.Answered {
		n.scene.t.Fatalf("a ping from %s to %s was %s", n.Name, to.Name, outcome)
	}
}

// carries fails unless a packet of a size arrives whole, which its sender may not
// fragment.
func (n *node) carries(to *node, size int) {
	n.scene.t.Helper()
	t := n.scene.t
	receiver, err := to.ListenPacket("udp6", addrPort(to, 7001).String())
	check(t, err)
	defer func() { _ = receiver.Close() }()
	sender, err := n.Dial(t.Context(), "udp6", addrPort(to, 7001).String())
	check(t, err)
	defer func() { _ = sender.Close() }()
	raw, err := sender.(*net.UDPConn).SyscallConn()
	check(t, err)
	var set error
	check(t, raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO)
	}))
	check(t, set)
	payload := size - 40 - 8
	_, err = sender.Write(make([]byte, payload))
	check(t, err)
	check(t, receiver.SetReadDeadline(time.Now().Add(20*time.Second)))
	got, _, err := receiver.ReadFrom(make([]byte, 2*size))
	if err != nil || got != payload {
		t.Fatalf("of a packet of %d bytes %d came, %v", size, got+48, err)
	}
	if _, err := sender.Write(make([]byte, payload+1)); !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("a packet of %d bytes: %v; want it refused as too big", size+1, err)
	}
}

// transfer sends bytes over TCP and fails unless all of them come.
func (n *node) transfer(to *node, bytes int64) {
	n.scene.t.Helper()
	t := n.scene.t
	listener, err := to.Listen("tcp6", addrPort(to, 7002).String())
	check(t, err)
	defer func() { _ = listener.Close() }()
	began := time.Now()
	sent := make(chan error, 1)
	go func() {
		conn, err := n.Dial(t.Context(), "tcp6", addrPort(to, 7002).String())
		if err == nil {
			_, err = io.CopyN(conn, random{}, bytes)
			err = errors.Join(err, conn.Close())
		}
		sent <- err
	}()
	conn, err := listener.Accept()
	check(t, err)
	defer func() { _ = conn.Close() }()
	check(t, conn.SetDeadline(time.Now().Add(2*time.Minute)))
	sum := fnv.New64a()
	got, err := io.Copy(sum, conn)
	check(t, errors.Join(err, <-sent))
	want := fnv.New64a()
	_, err = io.CopyN(want, random{}, bytes)
	check(t, err)
	if got != bytes || sum.Sum64() != want.Sum64() {
		t.Errorf("of %d bytes %d came, or others", bytes, got)
	}
	t.Logf("TCP: %d Mbit/s", bytes*8/1e6*1000/max(1, time.Since(began).Milliseconds()))
}

// random reads as the same noise every time, in blocks.
type random struct{}

func (random) Read(b []byte) (int, error) {
	noise := rand.NewChaCha8([32]byte{1})
	n := min(len(b), 4096)
	return noise.Read(b[:n])
}

// lossless ends a stream and fails unless everything came, and there was enough.
func lossless(t *testing.T, stream *probe.Sequence, least uint64) {
	t.Helper()
	report, err := stream.Stop()
	check(t, err)
	if report.Lost != 0 || report.Sent < least {
		t.Errorf("of %d datagrams (want at least %d) %d were lost: %v", report.Sent, least, report.Lost, report.Gaps)
	}
}

// awaitMore waits until so many more datagrams of a stream have come.
func awaitMore(t *testing.T, stream *probe.Sequence, count uint64) {
	t.Helper()
	have := stream.Received()
	eventually(t, "more of the stream", func() bool { return stream.Received() >= have+count })
}

// requireKernel ends the test where the kernel has no WireGuard. It tries on a node,
// not on the machine.
func requireKernel(t testing.TB, n *node) {
	t.Helper()
	h, err := n.Netlink()
	check(t, err)
	defer h.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = n.link(0)
	link := &netlink.Wireguard{LinkAttrs: attrs}
	err = h.LinkAdd(link)
	if errors.Is(err, unix.EOPNOTSUPP) && os.Getenv("ZOSNET_VM") != "1" { // every kernel of the guests has it
		t.Skip("this kernel has no WireGuard")
	}
	check(t, err)
	check(t, h.LinkDel(link))
}
