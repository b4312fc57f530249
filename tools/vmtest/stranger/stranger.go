// Package stranger is somebody at the other end of a guest's network cable, from
// the moment the guest is switched on: it knocks all the time, and keeps what
// answers. It speaks in raw frames, so that it needs no network of this machine.
package stranger

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Every so often the stranger tries every door once.
const every = 100 * time.Millisecond

// Link is the addresses on a cable.
type Link struct {
	Name                 string // of QEMU's netdev
	GuestMAC             net.HardwareAddr
	Guest4, Guest6       netip.Addr
	Stranger4, Stranger6 netip.Addr
}

var mac = net.HardwareAddr{2, 0, 0, 0, 0, 1}

// Stranger knocks on one link.
type Stranger struct {
	link  Link
	dir   string
	conn  *net.UnixConn
	guest *net.UnixAddr

	mu      sync.Mutex
	answers map[string]int
}

// Open makes the stranger's end of the cable in a directory.
func Open(dir string, link Link) (*Stranger, error) {
	s := &Stranger{link: link, dir: dir, answers: map[string]int{}}
	s.guest = &net.UnixAddr{Name: filepath.Join(dir, link.Name+".guest"), Net: "unixgram"}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.path(), Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("the cable of %s: %w", link.Name, err)
	}
	s.conn = conn
	return s, nil
}

func (s *Stranger) path() string { return filepath.Join(s.dir, s.link.Name+".stranger") }

// Netdev gives QEMU's arguments for the other end of the cable.
func (s *Stranger) Netdev() []string {
	return []string{"-netdev", fmt.Sprintf("dgram,id=%s,local.type=unix,local.path=%s,remote.type=unix,remote.path=%s",
		s.link.Name, s.guest.Name, s.path())}
}

// Run knocks until the context ends. Frames that nobody takes are lost, as on
// any cable.
func (s *Stranger) Run(ctx context.Context) {
	context.AfterFunc(ctx, func() { _ = s.conn.Close() })
	go s.knock(ctx)
	frame := make([]byte, 65536)
	for ctx.Err() == nil {
		n, _, err := s.conn.ReadFromUnix(frame)
		if err != nil {
			return
		}
		s.hear(frame[:n])
	}
}

func (s *Stranger) knock(ctx context.Context) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for port := uint16(30000); ; port++ {
		for _, frame := range s.doors(port) {
			_, _ = s.conn.WriteToUnix(frame, s.guest)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// hear sorts a frame of the guest: what the link itself needs is answered, what
// answers a knock is kept.
func (s *Stranger) hear(frame []byte) {
	if reply := s.courtesy(frame); reply != nil {
		_, _ = s.conn.WriteToUnix(reply, s.guest)
		return
	}
	if what := s.answer(frame); what != "" {
		s.mu.Lock()
		s.answers[what]++
		s.mu.Unlock()
	}
}

// Answers gives the kinds of answers that came so far, sorted.
func (s *Stranger) Answers() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.answers))
}
