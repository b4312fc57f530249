package resolver

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	ratePerSource    = 2000 // questions a second; more are not answered
	maxSources       = 4096 // remembered at once
	maxForwards      = 256  // questions on their way to a server
	forwardsPerAsker = 64
	maxConnections   = 256
	connectionsEach  = 16
	complaintEvery   = 10 * time.Second // a tenant must not fill the host's log
)

// source is who is asking: what counts against one asker counts for its /128 only,
// for a network's workloads are all of one tenant.
func source(a net.Addr) netip.Addr {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

// rates lets every source ask so often and no more: a bucket each, that fills up
// within a second.
type rates struct {
	mu      sync.Mutex
	buckets map[netip.Addr]bucket
}

type bucket struct {
	left float64
	at   time.Time
}

func (r *rates) allow(from netip.Addr, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, known := r.buckets[from]
	if !known {
		r.makeRoom(now)
		b = bucket{left: ratePerSource, at: now}
	}
	b.left = min(b.left+now.Sub(b.at).Seconds()*ratePerSource, ratePerSource)
	b.at = now
	ok := b.left >= 1
	if ok {
		b.left--
	}
	r.buckets[from] = b
	return ok
}

// makeRoom forgets the sources whose bucket is full again, or all where none is.
func (r *rates) makeRoom(now time.Time) {
	if len(r.buckets) < maxSources {
		return
	}
	for a, b := range r.buckets {
		if now.Sub(b.at) > time.Second {
			delete(r.buckets, a)
		}
	}
	if len(r.buckets) >= maxSources {
		clear(r.buckets)
	}
}

// places counts what is going on, in all and for each source.
type places struct {
	mu    sync.Mutex
	total int
	each  map[netip.Addr]int
	most  int
	share int
}

func newPlaces(most, share int) *places {
	return &places{each: map[netip.Addr]int{}, most: most, share: share}
}

// take takes a place for a source, which leave gives back; false: none is left.
func (p *places) take(from netip.Addr) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.total == p.most || p.each[from] == p.share {
		return false
	}
	p.total++
	p.each[from]++
	return true
}

func (p *places) leave(from netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total--
	if p.each[from]--; p.each[from] == 0 {
		delete(p.each, from)
	}
}

// limitedListener closes connections for which there is no place.
type limitedListener struct {
	net.Listener
	places *places
}

func (l limitedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := source(c.RemoteAddr())
		if l.places.take(from) {
			return &limitedConn{Conn: c, leave: sync.OnceFunc(func() { l.places.leave(from) })}, nil
		}
		_ = c.Close() // nothing was said on it
	}
}

type limitedConn struct {
	net.Conn
	leave func()
}

func (c *limitedConn) Close() error {
	c.leave()
	return c.Conn.Close()
}
