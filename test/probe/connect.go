package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/test/lab"
)

// Connect tries to open a TCP connection from the machine and closes it again.
func Connect(ctx context.Context, from *lab.Machine, to netip.AddrPort, within time.Duration) (Outcome, error) {
	conn, err := from.DialFrom(ctx, net.Dialer{Timeout: within}, "tcp", to.String())
	if err == nil {
		_ = conn.Close()
	}
	outcome, err := classify(err)
	if err != nil {
		return "", fmt.Errorf("connect from %s to %v: %w", from.Name, to, err)
	}
	return outcome, nil
}

// Exchange sends a UDP datagram and waits for any answer from the same
// address and port. The datagram is sent anew every quarter of the time, so
// that one lost to a full queue is not taken for silence.
func Exchange(ctx context.Context, from *lab.Machine, to netip.AddrPort, within time.Duration) (Outcome, error) {
	conn, err := from.DialFrom(ctx, net.Dialer{Control: reportErrors}, "udp", to.String())
	if err != nil {
		return result("exchange with", from, to, err)
	}
	defer func() { _ = conn.Close() }()
	return result("exchange with", from, to, ExchangeOn(conn, within))
}

// reportErrors makes a datagram socket report every ICMP error that it gets:
// without it Linux keeps the transient ones, such as no route, to itself
// (ip(7), IP_RECVERR).
func reportErrors(network, _ string, raw syscall.RawConn) error {
	level, option := unix.IPPROTO_IP, unix.IP_RECVERR
	if strings.HasSuffix(network, "6") {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVERR
	}
	var set error
	err := raw.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), level, option, 1) })
	return errors.Join(err, set)
}

// ExchangeOn is Exchange over a connected socket that is there already. The
// error of a silence is a timeout.
func ExchangeOn(conn net.Conn, within time.Duration) error {
	const tries = 4
	answer := make([]byte, 2048)
	var err error
	for range tries {
		if err = conn.SetDeadline(time.Now().Add(within / tries)); err != nil {
			return err
		}
		if _, err = conn.Write([]byte("zosnet probe")); err == nil {
			_, err = conn.Read(answer)
		}
		if !isTimeout(err) {
			return err
		}
	}
	return err
}

func result(what string, from *lab.Machine, to netip.AddrPort, err error) (Outcome, error) {
	outcome, err := classify(err)
	if err != nil {
		return "", fmt.Errorf("%s %v from %s: %w", what, to, from.Name, err)
	}
	return outcome, nil
}

// Echo is a UDP server that sends every datagram back.
type Echo struct{ conn net.PacketConn }

// ServeEcho starts one on the machine; Close ends it.
func ServeEcho(on *lab.Machine, at netip.AddrPort) (*Echo, error) {
	conn, err := on.ListenPacket("udp", at.String())
	if err != nil {
		return nil, fmt.Errorf("serve UDP echo at %v on %s: %w", at, on.Name, err)
	}
	go func() {
		buf := make([]byte, 2048)
		for {
			n, peer, err := conn.ReadFrom(buf)
			if isClosed(err) {
				return
			}
			if err == nil {
				_, _ = conn.WriteTo(buf[:n], peer)
			}
		}
	}()
	return &Echo{conn: conn}, nil
}

// Close ends the server.
func (e *Echo) Close() { _ = e.conn.Close() }
