package device

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/zosnet/zosnet/pkg/wireguard"
	"github.com/zosnet/zosnet/test/probe"
)

func TestCall(t *testing.T)       { call(t, true) }
func TestKernelCall(t *testing.T) { call(t, false) }

// call: who calls has a session with whom it called, without a packet of anybody's, and
// nothing of its configuration is another one.
func call(t *testing.T, userspace bool) {
	s := newScene(t, 3, userspace)
	a, b, c := s.nodes[0], s.nodes[1], s.nodes[2]
	s.join()
	kept := a.device(b, c)
	kept.Peers[1].Keepalive = time.Hour
	a.apply(kept)
	before := a.read(a.link(0))
	stranger := wireguard.NewPrivateKey().Public()
	everybody := []wireguard.PublicKey{b.key.Public(), c.key.Public(), stranger}
	if called := a.call(everybody...); !slices.Equal(called, everybody[:1]) {
		t.Fatalf("called %v, want node 2 alone: node 3 has an interval, and the other one is nobody", called)
	}
	for _, at := range []struct{ from, to *node }{{a, b}, {b, a}} {
		eventually(t, "a session", func() bool {
			p, _ := at.from.read(at.from.link(0)).Peer(at.to.key.Public())
			return p.Established(time.Now())
		})
	}
	after := a.read(a.link(0))
	if called := a.call(everybody...); called != nil {
		t.Errorf("called %v, which have a session, an interval or no place here", called)
	}
	if len(after.Peers) != len(before.Peers) {
		t.Errorf("a call made %d peers of %d", len(after.Peers), len(before.Peers))
	}
	if p, _ := after.Peer(b.key.Public()); p.Keepalive != 0 {
		t.Errorf("who was called is called every %v", p.Keepalive)
	}
	if changes := a.apply(kept); changes != nil {
		t.Errorf("after a call Apply changed %q", changes)
	}
	dials := a.device(b)
	dials.Peers[0].Endpoint = netip.AddrPort{}
	a.remove(a.link(0))
	a.apply(dials)
	if called := a.call(b.key.Public()); called != nil {
		t.Error("somebody was called who has no endpoint")
	}
}

func (n *node) call(peers ...wireguard.PublicKey) (called []wireguard.PublicKey) {
	n.scene.t.Helper()
	check(n.scene.t, n.Do(func() (err error) {
		called, err = n.devices.Call(n.link(0), peers)
		return err
	}))
	return called
}

// usable is after how long a new address may be spoken from: duplicate address detection
// (RFC 4862, 5.4).
const usable = time.Second

// BenchmarkFirstContact has the two ends of a new path speak in the same instant, b.N
// paths, and tells which share of the ends was not answered within a second. "unprepared":
// they speak as soon as both are configured; "called": each calls as the daemon does, and
// they speak as soon as a new address may be spoken from.
//
//	sudo go test ./pkg/wireguard/device -run NONE -bench FirstContact -benchtime 50x
func BenchmarkFirstContact(b *testing.B) {
	b.Run("unprepared", func(b *testing.B) { firstContacts(b, false) })
	b.Run("called", func(b *testing.B) { firstContacts(b, true) })
}

func firstContacts(b *testing.B, calls bool) {
	s := newScene(b, 2, true)
	took := make([]time.Duration, 2*b.N)
	var calling, speaking sync.WaitGroup
	for i := range b.N {
		c := newContact(s, i)
		c.configure(calls, &calling)
		speaking.Go(func() {
			if calls {
				time.Sleep(usable)
			}
			c.speak(took[2*i : 2*i+2])
		})
	}
	speaking.Wait()
	calling.Wait()
	slices.Sort(took)
	late := slices.IndexFunc(took, func(t time.Duration) bool { return t > time.Second })
	if late < 0 {
		late = len(took)
	}
	b.ReportMetric(100*float64(len(took)-late)/float64(len(took)), "%late")
	b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "ms/median")
	b.ReportMetric(float64(took[len(took)-1].Milliseconds()), "ms/worst")
	b.ReportMetric(0, "ns/op")
}

// contact is a network of its own between the two nodes of a scene.
type contact struct {
	scene   *scene
	devices [2]wireguard.Device
	parts   [2]netip.Prefix
}

func newContact(s *scene, number int) *contact {
	c := &contact{scene: s}
	for i, n := range s.nodes {
		c.parts[i] = prefix(fmt.Sprintf("2001:db8:cc00:%x::/64", 2*number+i))
		n.run("ip addr add %v/128 dev lo nodad", c.parts[i].Addr().Next())
		c.devices[i] = wireguard.Device{Name: fmt.Sprintf("zt%s-%d%x", s.id, i, number), Alias: "zosnet acme",
			PrivateKey: wireguard.NewPrivateKey(), ListenPort: uint16(22000 + number), MTU: 1420}
	}
	for i := range s.nodes {
		other := c.devices[1-i]
		c.devices[i].Peers = []wireguard.Peer{{PublicKey: other.PrivateKey.Public(),
			Endpoint: netip.AddrPortFrom(s.nodes[1-i].at4(), other.ListenPort), AllowedIPs: c.parts[1-i : 2-i]}}
	}
	return c
}

// configure makes both ends, in any order, and has each call.
func (c *contact) configure(calls bool, calling *sync.WaitGroup) {
	for _, i := range rand.Perm(2) {
		n, d := c.scene.nodes[i], c.devices[i]
		n.apply(d)
		n.run("ip -6 route replace %v dev %s", c.parts[1-i], d.Name)
		if calls {
			calling.Go(func() { c.call(i) })
		}
	}
}

// speak notes how long it takes until each end is answered by the other one.
func (c *contact) speak(took []time.Duration) {
	var ends sync.WaitGroup
	for i, n := range c.scene.nodes {
		ends.Go(func() {
			began := time.Now()
			outcome, err := probe.Ping(n.Machine, c.parts[1-i].Addr().Next(), 40*time.Second)
			if err != nil || outcome != probe.Answered {
				c.scene.t.Errorf("a ping over %s: %s %v", c.devices[i].Name, outcome, err)
			}
			took[i] = time.Since(began)
		})
	}
	ends.Wait()
}

// call is what the daemon of one end does once it is configured.
func (c *contact) call(end int) {
	n, d := c.scene.nodes[end], c.devices[end]
	own, other := d.PrivateKey.Public(), d.Peers[0].PublicKey
	if slices.Compare(other[:], own[:]) < 0 {
		time.Sleep(time.Second)
	}
	if err := n.Do(func() error { _, err := n.devices.Call(d.Name, []wireguard.PublicKey{other}); return err }); err != nil {
		c.scene.t.Error(err)
	}
}
