package probe

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/test/lab"
)

// sequenceSize is the payload: an 8-byte number and padding, 64 bytes in all.
const sequenceSize = 64

// Sequence is a running flow of numbered UDP datagrams, all of one 5-tuple.
type Sequence struct {
	sender   net.Conn
	receiver net.PacketConn
	stop     chan struct{}
	sent     sync.WaitGroup
	received sync.WaitGroup

	mu      sync.Mutex
	seen    map[uint64]int
	highest uint64
	late    int
	last    time.Time
	count   uint64
	failed  error
}

// Gap is a run of datagrams that never came.
type Gap struct {
	First, Last uint64
}

// SequenceReport is what became of a Sequence.
type SequenceReport struct {
	Sent       uint64
	Received   uint64 // different ones
	Gaps       []Gap
	Lost       uint64
	Duplicates int
	Reordered  int // came after one with a higher number
}

// StartSequence sends rate datagrams a second from one machine to an address
// of another until Stop. Datagrams are sent by an absolute schedule: a sender
// that was not scheduled for a while catches up, so the average holds.
func StartSequence(ctx context.Context, from, to *lab.Machine, at netip.AddrPort, rate int) (*Sequence, error) {
	receiver, err := to.ListenPacket("udp", at.String())
	if err != nil {
		return nil, fmt.Errorf("receive datagrams at %v on %s: %w", at, to.Name, err)
	}
	// A gap must mean the network: the socket holds what comes while this
	// process does not run, ten seconds' worth.
	if err := forceReadBuffer(receiver.(*net.UDPConn), 10*rate*1024); err != nil {
		_ = receiver.Close()
		return nil, err
	}
	sender, err := from.Dial(ctx, "udp", at.String())
	if err != nil {
		_ = receiver.Close()
		return nil, fmt.Errorf("send datagrams from %s to %v: %w", from.Name, at, err)
	}
	s := &Sequence{sender: sender, receiver: receiver, stop: make(chan struct{}), seen: map[uint64]int{}}
	s.sent.Add(1)
	s.received.Add(1)
	go s.send(rate)
	go s.receive()
	return s, nil
}

func forceReadBuffer(conn *net.UDPConn, bytes int) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, bytes)
	})
	if err != nil {
		return err
	}
	if set != nil {
		return fmt.Errorf("set a receive buffer of %d bytes: %w", bytes, set)
	}
	return nil
}

func (s *Sequence) send(rate int) {
	defer s.sent.Done()
	began := time.Now()
	tick := time.NewTicker(time.Second / time.Duration(min(rate, 1000)))
	defer tick.Stop()
	payload := make([]byte, sequenceSize)
	var number uint64
	for {
		select {
		case <-s.stop:
			s.mu.Lock()
			s.count = number
			s.mu.Unlock()
			return
		case <-tick.C:
		}
		due := uint64(time.Since(began).Seconds() * float64(rate))
		for ; number < due; number++ {
			binary.BigEndian.PutUint64(payload, number)
			// ECONNREFUSED reports an earlier datagram and this one was not
			// sent: once more. Other errors are kept for the report.
			_, err := s.sender.Write(payload)
			if o, _ := classify(err); o == Refused {
				_, err = s.sender.Write(payload)
			}
			if err != nil {
				s.mu.Lock()
				s.failed = fmt.Errorf("send datagram %d: %w", number, err)
				s.mu.Unlock()
			}
		}
	}
}

func (s *Sequence) receive() {
	defer s.received.Done()
	buf := make([]byte, 2048)
	for {
		n, _, err := s.receiver.ReadFrom(buf)
		if err != nil {
			return
		}
		if n != sequenceSize {
			continue
		}
		number := binary.BigEndian.Uint64(buf)
		s.mu.Lock()
		s.seen[number]++
		if number < s.highest {
			s.late++
		}
		s.highest = max(s.highest, number)
		s.last = time.Now()
		s.mu.Unlock()
	}
}

// Received is how many different datagrams have come so far.
func (s *Sequence) Received() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return uint64(len(s.seen))
}

// Last is when the latest datagram came, zero before the first.
func (s *Sequence) Last() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// Stop ends the flow, gives what is on its way a second to arrive, and tells
// what became of it all.
func (s *Sequence) Stop() (SequenceReport, error) {
	close(s.stop)
	s.sent.Wait()
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline) && s.Received() < s.count; {
		time.Sleep(5 * time.Millisecond)
	}
	_ = s.receiver.Close()
	_ = s.sender.Close()
	s.received.Wait()
	return s.report(), s.failed
}

func (s *Sequence) report() SequenceReport {
	r := SequenceReport{Sent: s.count, Received: uint64(len(s.seen)), Reordered: s.late}
	for number := range s.count {
		switch copies := s.seen[number]; {
		case copies > 1:
			r.Duplicates += copies - 1
		case copies == 0:
			r.Lost++
			if n := len(r.Gaps); n > 0 && r.Gaps[n-1].Last == number-1 {
				r.Gaps[n-1].Last = number
			} else {
				r.Gaps = append(r.Gaps, Gap{number, number})
			}
		}
	}
	return r
}
