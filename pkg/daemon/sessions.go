package daemon

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/wireguard"
	"github.com/zosnet/zosnet/pkg/wireguard/device"
)

const (
	// sessionsOften and sessionsSeldom are how often a device is read: often while
	// something happens that may become a session, or after what changed, and less and
	// less when nothing does.
	sessionsOften  = 3 * time.Second
	sessionsSeldom = 24 * time.Second
	// pathPatience is how long a peer that is spoken to may say nothing: WireGuard
	// answers what has come within 10 s (Keepalive-Timeout), and calls again every 5 s.
	pathPatience = 25 * time.Second
)

// sessions is what was last observed of the peers of this node's WireGuard devices.
type sessions struct {
	devices *device.Devices

	reading sync.Mutex // held while devices are read, which takes as long as a busy process lets it; before mu

	mu   sync.Mutex
	seen map[string]*observed // by interface
}

// observed is one device, as it was read last.
type observed struct {
	peers map[wireguard.PublicKey]observedPeer
	pause time.Duration
	next  time.Time // when it is read again
}

// observedPeer is a peer, and since when it has been spoken to without an answer.
type observedPeer struct {
	wireguard.PeerStatus
	unheard time.Time // zero: it answers, or nothing is said to it
}

func newSessions(devices *device.Devices) *sessions {
	return &sessions{devices: devices, seen: map[string]*observed{}}
}

func (p observedPeer) lost(now time.Time) bool {
	return !p.unheard.IsZero() && now.Sub(p.unheard) >= pathPatience
}

// follow gives what is known of a peer after it was read again.
func (p observedPeer) follow(is wireguard.PeerStatus, now time.Time) observedPeer {
	next := observedPeer{is, p.unheard}
	switch {
	case is.LastHandshake.After(p.LastHandshake), is.Established(now) && is.Received > p.Received:
		next.unheard = time.Time{}
	case p.unheard.IsZero() && is.Sent > p.Sent:
		next.unheard = now
	}
	return next
}

// firstSeen gives what is known of a peer that was not read before. One that has no
// prefix and no session did not answer the daemon before this one.
func firstSeen(is wireguard.PeerStatus, now time.Time) observedPeer {
	if len(is.AllowedIPs) == 0 && !is.Established(now) {
		return observedPeer{is, now.Add(-pathPatience)}
	}
	return observedPeer{is, time.Time{}}
}

// input gives what the plan is told, by interface and key.
func (s *sessions) input(now time.Time) (list []plan.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.seen)) {
		peers := s.seen[name].peers
		for _, key := range slices.SortedFunc(maps.Keys(peers), func(a, b wireguard.PublicKey) int { return slices.Compare(a[:], b[:]) }) {
			p := peers[key]
			list = append(list, plan.Session{Interface: name, PublicKey: key, Established: p.Established(now), Lost: p.lost(now)})
		}
	}
	return list
}

// read looks at the devices whose turn it is, and forgets those that are not named.
func (s *sessions) read(interfaces []string, now time.Time) error {
	s.reading.Lock()
	defer s.reading.Unlock()
	var errs []error
	for _, name := range s.due(interfaces, now) {
		is, err := s.devices.Read(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			s.forget(name)
		case err != nil:
			errs = append(errs, err) // what was known of it stays
		default:
			s.note(is, now)
		}
	}
	return errors.Join(errs...)
}

// due gives the devices whose turn it is, and forgets those that are not named.
func (s *sessions) due(interfaces []string, now time.Time) (list []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.seen, func(name string, _ *observed) bool { return !slices.Contains(interfaces, name) })
	for _, name := range interfaces {
		if o := s.seen[name]; o == nil || !now.Before(o.next) {
			list = append(list, name)
		}
	}
	return list
}

func (s *sessions) forget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.seen, name)
}

// note takes a reading.
func (s *sessions) note(is wireguard.Status, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := &observed{peers: map[wireguard.PublicKey]observedPeer{}, pause: sessionsOften}
	last := s.seen[is.Name]
	for _, p := range is.Peers {
		if last == nil {
			o.peers[p.PublicKey] = firstSeen(p, now)
		} else if was, known := last.peers[p.PublicKey]; known {
			o.peers[p.PublicKey] = was.follow(p, now)
		} else {
			o.peers[p.PublicKey] = observedPeer{PeerStatus: p}
		}
	}
	if last != nil && !happens(last.peers, o.peers) {
		o.pause = min(2*last.pause, sessionsSeldom)
	}
	o.next = now.Add(o.pause)
	s.seen[is.Name] = o
}

// happens tells whether peers came or went, or one of them that had no session tries
// to have one or has it now.
func happens(before, after map[wireguard.PublicKey]observedPeer) bool {
	if len(before) != len(after) {
		return true
	}
	for key, now := range after {
		was, known := before[key]
		if !known || was.LastHandshake.IsZero() != now.LastHandshake.IsZero() {
			return true
		}
		if now.LastHandshake.Equal(was.LastHandshake) && now.Sent != was.Sent && now.Received == was.Received {
			return true
		}
	}
	return false
}

// followSessions observes the overlays' peers until ctx ends. What changes is planned
// with.
func (d *Daemon) followSessions(ctx context.Context) error {
	tick := time.NewTicker(sessionsOften)
	defer tick.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		v := d.current()
		err := d.sessions.read(devicesOf(v.state), time.Now())
		if text := textOf(err); text != said {
			said = text
			if err != nil {
				d.log.Warn("read the sessions of overlays", "error", err)
			}
		}
		if client := d.control.Registry(); v.node != "" && client != nil && v.observes(d.sessions.input(time.Now()), client.Snapshot()) {
			d.enforcer.request()
		}
	}
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// devicesOf gives the WireGuard interfaces of overlays.
func devicesOf(s plan.State) (names []string) {
	for _, o := range s.Overlays {
		names = append(names, o.Interface)
	}
	return names
}
