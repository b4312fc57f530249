package underlay

import (
	"errors"
	"fmt"
	"net"
	"sync"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// captured is a packet that came by an uplink, from its IPv6 header on.
type captured struct {
	uplink string
	bytes  []byte
}

// sockets are packet sockets: one to hear by each uplink, one to send as the host
// does, and one to send as a tenant does.
type sockets struct {
	packets chan captured
	hearing []int
	readers sync.WaitGroup
	stop    chan struct{}
	host    int
	tenant  int
}

// mostCaptured is enough of a packet: an error quotes at least 1,184 bytes less.
const mostCaptured = 256

// icmpv6Only lets packets through whose next header is ICMPv6; the first byte is that
// of the IPv6 header.
var icmpv6Only = []bpf.Instruction{
	bpf.LoadAbsolute{Off: 6, Size: 1},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_ICMPV6, SkipFalse: 1},
	bpf.RetConstant{Val: mostCaptured},
	bpf.RetConstant{},
}

// toNetwork is a 16-bit number in network order, as the kernel wants protocols.
func toNetwork(n uint16) uint16 { return n<<8 | n>>8 }

func (s *sockets) listen(uplinks []string) (err error) {
	s.packets, s.stop, s.host, s.tenant = make(chan captured, 64), make(chan struct{}), -1, -1
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	for _, uplink := range uplinks {
		fd, err := listenOn(uplink)
		if err != nil {
			return fmt.Errorf("listen on uplink %s: %w", uplink, err)
		}
		s.hearing = append(s.hearing, fd)
		s.readers.Go(func() { s.read(fd, uplink) })
	}
	if s.host, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return fmt.Errorf("open a packet socket: %w", err)
	}
	if s.tenant, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return fmt.Errorf("open a packet socket: %w", err)
	}
	if err := unix.SetsockoptInt(s.tenant, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1); err != nil {
		return fmt.Errorf("send past the queues: %w", err)
	}
	return nil
}

// listenOn hears ICMPv6 by an interface, before the programs at tc do, also what is
// for groups that nobody here is in: so it hears a router look for a neighbour.
func listenOn(uplink string) (int, error) {
	link, err := net.InterfaceByName(uplink)
	if err != nil {
		return -1, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	raw, err := bpf.Assemble(icmpv6Only)
	if err == nil {
		filter := make([]unix.SockFilter, len(raw))
		for i, r := range raw {
			filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
		}
		err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
	}
	if err == nil {
		err = unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP,
			&unix.PacketMreq{Ifindex: int32(link.Index), Type: unix.PACKET_MR_ALLMULTI})
	}
	if err == nil { // every protocol: sockets of one are served after tc
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: toNetwork(unix.ETH_P_ALL), Ifindex: link.Index})
	}
	if err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// read gives what comes by an uplink until the sockets are closed.
func (s *sockets) read(fd int, uplink string) {
	buffer := make([]byte, mostCaptured)
	for {
		select {
		case <-s.stop:
			return
		default:
		}
		waiting := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if n, err := unix.Poll(waiting, 50); err != nil || n == 0 { // milliseconds; also interrupted
			continue
		}
		n, from, err := unix.Recvfrom(fd, buffer, unix.MSG_DONTWAIT)
		if err != nil {
			continue
		}
		if link, ok := from.(*unix.SockaddrLinklayer); !ok || link.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		select {
		case s.packets <- captured{uplink, append([]byte(nil), buffer[:n]...)}:
		case <-s.stop:
			return
		}
	}
}

// send sends an IPv6 packet to the router. A tenant's goes past the guard of what the
// host says, which has judged tenants' packets before they get there.
func (s *sockets) send(w way, packet []byte, tenant bool) error {
	fd := s.host
	if tenant {
		fd = s.tenant
	}
	to := &unix.SockaddrLinklayer{Protocol: toNetwork(unix.ETH_P_IPV6), Ifindex: w.index, Halen: uint8(len(w.mac))}
	copy(to.Addr[:], w.mac)
	if err := unix.Sendto(fd, packet, 0, to); err != nil {
		return fmt.Errorf("send a probe by %s: %w", w.uplink, err)
	}
	return nil
}

func (s *sockets) close() {
	close(s.stop)
	s.readers.Wait()
	for _, fd := range append(s.hearing, s.host, s.tenant) {
		if fd >= 0 {
			_ = unix.Close(fd) // nothing is lost by it
		}
	}
}
