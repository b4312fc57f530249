package gridstore

import (
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/zosnet/zosnet/pkg/trust"
)

// wire carries TCP connections to member 1 and can be cut: what is on it then waits,
// as behind a network that lost its way, and comes out when it is mended.
type wire struct {
	listener net.Listener
	to       string
	mu       sync.Mutex
	open     chan struct{} // closed while it is whole
	conns    []net.Conn
	done     sync.WaitGroup
}

func (g *testGrid) wire() *wire {
	g.t.Helper()
	listener, err := net.Listen("tcp", netip.AddrPortFrom(controlAddress(1), 0).String())
	g.ok(err)
	w := &wire{listener: listener, to: g.client(1).String(), open: make(chan struct{})}
	close(w.open)
	w.done.Go(w.accept)
	g.t.Cleanup(func() {
		w.mend()
		_ = listener.Close()
		w.mu.Lock()
		for _, c := range w.conns {
			_ = c.Close()
		}
		w.mu.Unlock()
		w.done.Wait()
	})
	return w
}

func (w *wire) accept() {
	for {
		near, err := w.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", w.to)
		if err != nil {
			_ = near.Close()
			continue
		}
		w.mu.Lock()
		w.conns = append(w.conns, near, far)
		w.mu.Unlock()
		w.done.Go(func() { w.carry(near, far) })
		w.done.Go(func() { w.carry(far, near) })
	}
}

func (w *wire) carry(from, to net.Conn) {
	defer func() { _ = to.Close() }()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		w.mu.Lock()
		open := w.open
		w.mu.Unlock()
		<-open
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			_, _ = io.Copy(io.Discard, from)
			return
		}
	}
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open = make(chan struct{})
}

func (w *wire) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.open:
	default:
		close(w.open)
	}
}

// TestWireCut: a node whose wire to the registry is cut goes on with what it knows,
// says of when that is, and catches up when the wire is mended.
func TestWireCut(t *testing.T) {
	t.Parallel()
	g := single(t, 2)
	n1 := g.open(1)
	w := g.wire()
	n2 := g.open(2, func(c *Config) { c.Endpoints = []string{"https://" + w.listener.Addr().String()} })
	owner := must(trust.NewOwnerKey())
	g.publish(n1)
	g.ok(g.apply(n1, owner, "acme", 1, "n1", "n2"))
	g.until(n2, "acme", func(s Snapshot) bool { return s.Networks["acme"] != nil })
	w.cut()
	known := n2.Snapshot()
	for taken, end := false, time.Now().Add(patience); !taken; { // what had passed it is taken in
		if time.Now().After(end) {
			t.Fatal("n2 still hears something, though it is cut off")
		}
		time.Sleep(500 * time.Millisecond)
		next := n2.Snapshot()
		taken, known = next.Confirmed.Equal(known.Confirmed) && next.Revision == known.Revision, next
	}
	for revision := uint64(2); revision <= 5; revision++ {
		g.ok(g.apply(n1, owner, "acme", revision, "n1", "n2"))
	}
	g.until(n1, "the newest at n1", func(s Snapshot) bool { return s.Networks["acme"].Document.Revision == 5 })
	time.Sleep(500 * time.Millisecond) // in which n2 would have heard
	if s := n2.Snapshot(); s.Networks["acme"] != known.Networks["acme"] || s.Confirmed != known.Confirmed {
		t.Errorf("n2 has revision %d, confirmed %s; it had %d, %s", s.Revision, s.Confirmed, known.Revision, known.Confirmed)
	}
	w.mend()
	g.until(n2, "the newest", func(s Snapshot) bool {
		return s.Networks["acme"].Document.Revision == 5 && s.Confirmed.After(known.Confirmed)
	})
}
