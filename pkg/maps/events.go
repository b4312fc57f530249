package maps

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/cilium/ebpf/ringbuf"
)

// ErrEventsClosed says that the reader was closed.
var ErrEventsClosed = errors.New("event reader closed")

// EventReader takes events out of the ring buffer: each goes to one reader only.
type EventReader struct {
	ring   *ringbuf.Reader
	record ringbuf.Record
}

// ReadEvents makes a reader. Programs send drops only after SetWatched(true).
func (m *Maps) ReadEvents() (*EventReader, error) {
	ring, err := ringbuf.NewReader(m.Events)
	if err != nil {
		return nil, fmt.Errorf("open ring buffer of events: %w", err)
	}
	return &EventReader{ring: ring}, nil
}

// Next waits for an event. It fails with ErrEventsClosed after Close, and with
// os.ErrDeadlineExceeded after the deadline.
func (r *EventReader) Next() (Event, error) {
	err := r.ring.ReadInto(&r.record)
	if errors.Is(err, ringbuf.ErrClosed) {
		return Event{}, ErrEventsClosed
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return Event{}, err
	}
	if err != nil {
		return Event{}, fmt.Errorf("read event: %w", err)
	}
	return DecodeEvent(r.record.RawSample)
}

// SetDeadline makes Next fail at a time; the zero time takes that back.
func (r *EventReader) SetDeadline(t time.Time) { r.ring.SetDeadline(t) }

// Close ends Next, also one that waits.
func (r *EventReader) Close() error { return r.ring.Close() }

// DecodeEvent reads an event as the ring buffer holds it, which may pad it.
func DecodeEvent(raw []byte) (e Event, err error) {
	if len(raw) > eventBytes {
		raw = raw[:eventBytes]
	}
	return e, decode(raw, &e)
}

// Source gives where the packet came from. Its port is 0 where the protocol has
// none; an ICMP query has its identifier there.
func (e *bpfEvent) Source() netip.AddrPort {
	return netip.AddrPortFrom(e.Saddr.Addr(), networkOrder16(e.Sport))
}

// Destination gives where the packet wanted to go. An ICMP message that is no
// query has its type as port.
func (e *bpfEvent) Destination() netip.AddrPort {
	return netip.AddrPortFrom(e.Daddr.Addr(), networkOrder16(e.Dport))
}

// When gives the event's wall-clock time.
func (e *bpfEvent) When() time.Time { return TimeOf(e.Time) }

// Frame gives the bytes of the frame that were captured, from its Ethernet header
// on; Length says how many it had. A packet of an interface that has none gets a
// header of zero addresses, so that all of a capture read alike.
func (e *bpfEvent) Frame() []byte {
	frame := e.Head[:min(int(e.Captured), len(e.Head))]
	if e.LinkHeader != 0 || len(frame) == 0 {
		return frame
	}
	whole := append(binary.BigEndian.AppendUint16(make([]byte, 12), e.EtherType), frame...)
	return whole[:min(len(whole), len(e.Head))]
}
