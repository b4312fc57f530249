package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/zosnet/zosnet/test/lab"
)

// Sender says which end of a Stream sends.
type Sender int

// The two ends.
const (
	ClientSends Sender = iota
	ServerSends
)

// Stream is a running TCP transfer in pieces of 4 KiB, paced so that it leaves the
// processor to others.
type Stream struct {
	client, server net.Conn
	listener       net.Listener
	ends           sync.WaitGroup

	mu    sync.Mutex
	bytes int64
	last  time.Time
	err   error
}

const piece = 4096

// Pace is the time between two pieces of a stream that StartStream starts: about
// 2 MB/s.
const Pace = 2 * time.Millisecond

// StartStream connects a client on one machine with a server at an address of
// another, and lets one end send until Stop.
func StartStream(ctx context.Context, from, to *lab.Machine, at netip.AddrPort, sender Sender) (*Stream, error) {
	return StartPacedStream(ctx, from, to, at, sender, Pace)
}

// StartPacedStream is StartStream with another time between two pieces.
func StartPacedStream(ctx context.Context, from, to *lab.Machine, at netip.AddrPort, sender Sender, pace time.Duration) (*Stream, error) {
	l, err := to.Listen("tcp", at.String())
	if err != nil {
		return nil, fmt.Errorf("serve a stream at %v on %s: %w", at, to.Name, err)
	}
	s := &Stream{listener: l, last: time.Now()}
	if s.client, err = from.DialFrom(ctx, net.Dialer{Timeout: 3 * time.Second}, "tcp", at.String()); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("open a stream from %s to %v: %w", from.Name, at, err)
	}
	if s.server, err = l.Accept(); err != nil {
		s.Stop()
		return nil, fmt.Errorf("accept a stream at %v on %s: %w", at, to.Name, err)
	}
	source, sink := s.client, s.server
	if sender == ServerSends {
		source, sink = sink, source
	}
	s.ends.Add(2)
	go s.pump(source, pace)
	go s.drain(sink)
	return s, nil
}

func (s *Stream) pump(conn net.Conn, pace time.Duration) {
	defer s.ends.Done()
	data := make([]byte, piece)
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for range tick.C {
		if _, err := conn.Write(data); err != nil {
			s.fail(err)
			return
		}
	}
}

func (s *Stream) drain(conn net.Conn) {
	defer s.ends.Done()
	buf := make([]byte, 64<<10)
	for {
		n, err := conn.Read(buf)
		if n > 0 {
			s.mu.Lock()
			s.bytes += int64(n)
			s.last = time.Now()
			s.mu.Unlock()
		}
		if err != nil {
			s.fail(err)
			return
		}
	}
}

func (s *Stream) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil && !errors.Is(err, io.EOF) && !isClosed(err) {
		s.err = err
	}
}

// Bytes is how much has arrived.
func (s *Stream) Bytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes
}

// Last is when the latest byte arrived, or when the stream was opened.
func (s *Stream) Last() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// Err is the first error of either end, nil while both are well.
func (s *Stream) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// WaitProgress waits until this many more bytes have arrived.
func (s *Stream) WaitProgress(ctx context.Context, bytes int64) error {
	want := s.Bytes() + bytes
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for s.Bytes() < want {
		select {
		case <-ctx.Done():
			return fmt.Errorf("stream stands at %d bytes since %v (%w), error %w",
				s.Bytes(), time.Since(s.Last()).Round(time.Millisecond), ctx.Err(), s.Err())
		case <-tick.C:
		}
	}
	return nil
}

// WaitStall waits until nothing has arrived for quiet, and returns when the
// last byte did.
func (s *Stream) WaitStall(ctx context.Context, quiet time.Duration) (time.Time, error) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for time.Since(s.Last()) < quiet {
		select {
		case <-ctx.Done():
			return s.Last(), fmt.Errorf("stream still flows: %d bytes, the last %v ago: %w",
				s.Bytes(), time.Since(s.Last()).Round(time.Millisecond), ctx.Err())
		case <-tick.C:
		}
	}
	return s.Last(), nil
}

// Stop ends the stream.
func (s *Stream) Stop() {
	for _, conn := range []net.Conn{s.client, s.server} {
		if conn != nil {
			_ = conn.Close()
		}
	}
	_ = s.listener.Close()
	s.ends.Wait()
}
