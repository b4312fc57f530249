package daemon

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/wireguard"
)

// callPatience is how long the node with the greater key waits for the other one to
// call. It is longer than a message takes to the other end of the world, and than two
// nodes take to hear the same news.
const callPatience = time.Second

// callPause is between two calls, so that a node with thousands of peers that has just
// come up keeps neither itself nor them busy with handshakes.
const callPause = 5 * time.Millisecond

// calls opens sessions before somebody needs them. When the two ends of a path without a
// session speak in the same instant, each takes the other's handshake and gives up its
// own, nobody answers any, and they try again after 5 s, in the same third of a second
// (Rekey-Timeout and its jitter: WireGuard whitepaper, 6.4). So the node with the smaller
// key calls as soon as both have somebody who could speak, and the other one only if
// nobody did: then the first call came before it knew the caller.
type calls struct {
	changed chan struct{} // there is something to look at

	mu     sync.Mutex
	anew   map[string]bool // networks whose overlay was made or changed
	wanted map[path]want   // as they were looked at last
	due    map[path]time.Time
}

// path leads to a peer of one of this node's devices.
type path struct {
	device string
	key    wireguard.PublicKey
}

// want is why a path is wanted.
type want struct {
	network       string
	endpoint      netip.AddrPort
	here, there   int  // workloads of the network on this node, and on the other
	answersOthers bool // the other node calls first
}

func newCalls() *calls {
	return &calls{changed: make(chan struct{}, 1), anew: map[string]bool{}, wanted: map[path]want{}, due: map[path]time.Time{}}
}

// enforced tells of what an enforcement changed; of nothing, it may have been workloads.
func (c *calls) enforced(changes []plan.Change) {
	c.mu.Lock()
	for _, change := range changes {
		if network, overlay := strings.CutPrefix(change.Object, "overlay "); overlay {
			c.anew[network] = true
		}
	}
	c.mu.Unlock()
	wake(c.changed)
}

// wants gives the paths over which workloads of two nodes could speak, and those under
// new keys, where either node could begin. Whoever is hidden calls by itself, and a peer
// that is called all the time needs no call.
func (v view) wants() map[path]want {
	type place struct{ network, node string }
	there := map[place]int{}
	for _, r := range v.input.Remote {
		there[place{r.Network, r.Node}]++
	}
	here := map[string]int{}
	for _, a := range v.input.Attachments {
		here[a.Network]++
	}
	heirs := map[string]bool{}
	for _, o := range v.overlays {
		heirs[o.Heir] = true
	}
	list := map[path]want{}
	for _, o := range v.overlays {
		for _, p := range o.Peers {
			w := want{o.Network, p.Endpoint, here[o.Network], there[place{o.Network, p.Node}], slices.Compare(p.PublicKey[:], o.PublicKey[:]) < 0}
			if p.Endpoint.IsValid() && p.Keepalive == 0 && (w.here > 0 && w.there > 0 || heirs[o.Interface]) {
				list[path{o.Interface, p.PublicKey}] = w
			}
		}
	}
	return list
}

// look notes who is to be called now or later: whoever can be spoken to since then, was
// made anew, is somewhere else or has got one more who could speak.
func (c *calls) look(wanted map[path]want, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for p, w := range wanted {
		was, known := c.wanted[p]
		if known && !c.anew[w.network] && w.endpoint == was.endpoint && w.here <= was.here && w.there <= was.there {
			continue
		}
		at := now
		if w.answersOthers {
			at = now.Add(callPatience)
		}
		if due, soon := c.due[p]; !soon || at.Before(due) {
			c.due[p] = at // what comes again and again puts off nothing
		}
	}
	maps.DeleteFunc(c.due, func(p path, _ time.Time) bool { _, still := wanted[p]; return !still })
	c.wanted = wanted
	clear(c.anew)
}

// take gives the peers that are to be called now, by device, and when to ask again; zero:
// nobody else is to be called.
func (c *calls) take(now time.Time) (list map[string][]wireguard.PublicKey, next time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	list = map[string][]wireguard.PublicKey{}
	for p, at := range c.due {
		switch {
		case !now.Before(at):
			list[p.device] = append(list[p.device], p.key)
			delete(c.due, p)
		case next.IsZero() || at.Before(next):
			next = at
		}
	}
	return list, next
}

// followCalls makes calls until ctx ends. One that cannot be made is none: the packets
// that need a session make it.
func (d *Daemon) followCalls(ctx context.Context) error {
	later := time.NewTimer(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.calls.changed:
			d.calls.look(d.current().wants(), time.Now())
		case <-later.C:
		}
		list, next := d.calls.take(time.Now())
		for device, peers := range list {
			called, err := d.sessions.devices.Call(device, peers)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				d.log.Warn("open sessions before they are needed", "error", err)
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(time.Duration(len(called)) * callPause):
			}
		}
		if !next.IsZero() {
			later.Reset(time.Until(next))
		}
	}
}
