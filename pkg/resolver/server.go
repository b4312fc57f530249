package resolver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Config is what Run needs to know.
type Config struct {
	Dir    string // with the files that the package's doc comment names
	Listen netip.AddrPort
	Log    *slog.Logger
	Ready  func() // called once when questions are answered
}

// Limits of one TCP connection.
const (
	connectionIdle = 10 * time.Second
	connectionTime = 2 * time.Second // to read or write one message
)

type server struct {
	log      *slog.Logger
	listen   netip.AddrPort
	records  atomic.Pointer[records]
	servers  atomic.Pointer[[]netip.AddrPort]
	rates    rates
	forwards *places

	complained atomic.Int64 // when, in nanoseconds
}

// Run answers questions until ctx ends, or until the directory's lock is removed. It gives up root, for good and for the whole
// process, before it reads a first question. An error says that it could not begin
// (no zone, no socket) or that a socket failed.
func Run(ctx context.Context, c Config) error {
	s := &server{log: c.Log, listen: c.Listen, rates: rates{buckets: map[netip.Addr]bucket{}}, forwards: newPlaces(maxForwards, forwardsPerAsker)}
	datagrams, connections, err := listen(ctx, c.Listen)
	if err != nil {
		return err
	}
	defer func() { _, _ = datagrams.Close(), connections.Close() }() // closed already when all went well
	files, err := openDir(c.Dir)
	if err != nil {
		return err
	}
	defer files.close()
	if err := giveUpRoot(); err != nil {
		return err
	}
	if err := s.load(files); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return files.follow(ctx, func() { s.reload(files) }) })
	s.serve(ctx, g, &dns.Server{PacketConn: datagrams, UDPSize: dns.MinMsgSize * 8})
	s.serve(ctx, g, &dns.Server{
		Listener:    limitedListener{connections, newPlaces(maxConnections, connectionsEach)},
		ReadTimeout: connectionTime, WriteTimeout: connectionTime, IdleTimeout: func() time.Duration { return connectionIdle },
	})
	c.Log.Info("answering", "address", c.Listen, "directory", c.Dir)
	if c.Ready != nil {
		c.Ready()
	}
	if err := g.Wait(); !errors.Is(err, errReleased) {
		return err
	}
	return nil
}

// serve runs one of the two servers until ctx ends.
func (s *server) serve(ctx context.Context, g *errgroup.Group, d *dns.Server) {
	started := make(chan struct{})
	d.Handler, d.NotifyStartedFunc = s, func() { close(started) }
	g.Go(func() error {
		if err := d.ActivateAndServe(); err != nil && ctx.Err() == nil {
			return fmt.Errorf("answer questions at %s: %w", s.listen, err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		<-started
		return d.Shutdown()
	})
}

// listen opens port and address for both transports.
func listen(ctx context.Context, at netip.AddrPort) (net.PacketConn, net.Listener, error) {
	// An address may be tentative still (duplicate address detection), or come later.
	freebind := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		return errors.Join(raw.Control(func(fd uintptr) {
			if at.Addr().Is4() {
				err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1)
			} else {
				err = unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_FREEBIND, 1)
			}
		}), err)
	}}
	datagrams, err := freebind.ListenPacket(ctx, "udp", at.String())
	if err != nil {
		return nil, nil, fmt.Errorf("listen at %s: %w", at, err)
	}
	connections, err := freebind.Listen(ctx, "tcp", at.String())
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("listen at %s: %w", at, err), datagrams.Close())
	}
	return datagrams, connections, nil
}

// load reads both files.
func (s *server) load(files *dir) error {
	text, err := files.read(zoneFile)
	if err != nil {
		return err
	}
	z, err := parseZone(text)
	if err != nil {
		return fmt.Errorf("read %s: %w", files.path(zoneFile), err)
	}
	servers, err := s.readForward(files)
	if err != nil {
		return err
	}
	s.records.Store(z)
	s.servers.Store(&servers)
	return nil
}

func (s *server) readForward(files *dir) ([]netip.AddrPort, error) {
	text, err := files.read(forwardFile)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	servers, err := parseForward(text)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", files.path(forwardFile), err)
	}
	if isServer(servers, s.listen.Addr()) {
		return nil, fmt.Errorf("read %s: %s is this resolver itself", files.path(forwardFile), s.listen.Addr())
	}
	return servers, nil
}

// reload reads the files again; what cannot be used leaves everything as it was.
func (s *server) reload(files *dir) {
	if err := s.load(files); err != nil {
		s.log.Error("read the names again; the old ones stay", "error", err)
	}
}
