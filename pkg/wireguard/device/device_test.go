package device

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zosnet/zosnet/test/probe"
)

func TestTraffic(t *testing.T)       { traffic(t, true) }
func TestKernelTraffic(t *testing.T) { traffic(t, false) }

// traffic: two nodes reach each other, a second Apply changes nothing, and what is
// removed is gone.
func traffic(t *testing.T, userspace bool) {
	s := newScene(t, 2, userspace)
	a, b := s.nodes[0], s.nodes[1]
	if got := a.apply(a.device(b)); len(got) == 0 || got[0] != "created" || got[len(got)-1] != "up" {
		t.Fatalf("the first Apply changed %q", got)
	}
	b.apply(b.device(a))
	a.route(b, a.link(0))
	b.route(a, b.link(0))
	a.reaches(b)
	a.carries(b, 1420)
	a.transfer(b, 32<<20)
	b.transfer(a, 8<<20)

	before := a.read(a.link(0))
	for range 2 {
		if got := a.apply(a.device(b)); got != nil {
			t.Fatalf("the second Apply changed %q", got)
		}
	}
	if d := cmp.Diff(before.Peers[0].LastHandshake, a.read(a.link(0)).Peers[0].LastHandshake); d != "" {
		t.Errorf("the second Apply disturbed the session: %s", d)
	}
	a.remove(a.link(0))
	if err := runOn(a.Machine, "ip link show "+a.link(0)); err == nil {
		t.Error("the link is there after Remove")
	}
	a.remove(a.link(0)) // again is no error
}

// The MTU changes while packets go.
func TestMTU(t *testing.T)       { mtu(t, true) }
func TestKernelMTU(t *testing.T) { mtu(t, false) }

func mtu(t *testing.T, userspace bool) {
	s := newScene(t, 2, userspace)
	a, b := s.nodes[0], s.nodes[1]
	s.join()
	a.reaches(b)
	stream, err := probe.StartSequence(t.Context(), a.Machine, b.Machine, addrPort(b, 7000), 1000)
	check(t, err)
	for _, size := range []int{1280, 1440, 1333, 1420} {
		for i, n := range s.nodes {
			d := n.device(s.nodes[1-i])
			d.MTU = size
			if got := n.apply(d); len(got) != 1 {
				t.Errorf("to an MTU of %d: %q", size, got)
			}
		}
		a.carries(b, size)
		b.carries(a, size)
		awaitMore(t, stream, 50)
	}
	lossless(t, stream, 200)
}

// TestPrepare: a device is down until Apply.
func TestPrepare(t *testing.T)       { prepared(t, true) }
func TestKernelPrepare(t *testing.T) { prepared(t, false) }

func prepared(t *testing.T, userspace bool) {
	s := newScene(t, 2, userspace)
	a, b := s.nodes[0], s.nodes[1]
	var changes []string
	check(t, a.Do(func() (err error) {
		changes, err = a.devices.Prepare(a.device(b))
		return err
	}))
	if len(changes) == 0 || changes[0] != "created" {
		t.Fatalf("Prepare changed %q", changes)
	}
	if !a.isDown(a.link(0)) {
		t.Error("the device is up before Apply")
	}
	if got := a.apply(a.device(b)); len(got) != 1 || got[0] != "up" {
		t.Fatalf("Apply then changed %q, want only up", got)
	}
	if a.isDown(a.link(0)) {
		t.Error("the device is down after Apply")
	}
}

func (n *node) isDown(name string) (down bool) {
	n.scene.t.Helper()
	check(n.scene.t, n.Do(func() error {
		link, err := n.devices.find(name)
		if err == nil {
			down = link.Attrs().Flags&net.FlagUp == 0
		}
		return err
	}))
	return down
}

// The kernel's WireGuard and the process's both answer to nobody they do not know.
func TestSilentToStrangers(t *testing.T)       { silent(t, true) }
func TestKernelSilentToStrangers(t *testing.T) { silent(t, false) }

func silent(t *testing.T, userspace bool) {
	s := newScene(t, 3, userspace)
	a, b, stranger := s.nodes[0], s.nodes[1], s.nodes[2]
	a.apply(a.device(b))
	ctx := t.Context()
	scan, err := probe.Nmap(ctx, stranger.Machine, a.at4(), "-sU", "-p", "21001,21002", "--max-retries", "1")
	check(t, err)
	// The other port shows that the scan would have heard.
	if want := []string{"udp/21002 closed (port-unreach)"}; !cmp.Equal(scan.Answered, want) || scan.Quiet != 1 {
		t.Errorf("a stranger heard %q, and nothing from %d ports; want %q, 1", scan.Answered, scan.Quiet, want)
	}
	// A well-formed handshake under a key that is not a peer's gets none either.
	stranger.apply(stranger.device(a))
	stranger.route(a, stranger.link(0))
	outcome, err := probe.Ping(stranger.Machine, a.inner(), 2*time.Second)
	check(t, err)
	if outcome != probe.Silent {
		t.Errorf("a stranger's ping was %s", outcome)
	}
	if got := stranger.read(stranger.link(0)).Peers[0]; got.Received != 0 || got.Sent == 0 {
		t.Errorf("a stranger sent %d bytes of handshakes and heard %d; want some, 0", got.Sent, got.Received)
	}
}

// A peer that is changed, added or removed costs a stream over another peer nothing.
func TestPeersApart(t *testing.T)       { peersApart(t, true) }
func TestKernelPeersApart(t *testing.T) { peersApart(t, false) }

func peersApart(t *testing.T, userspace bool) {
	s := newScene(t, 3, userspace)
	a, b, c := s.nodes[0], s.nodes[1], s.nodes[2]
	s.join()
	a.reaches(b)
	stream, err := probe.StartSequence(t.Context(), a.Machine, b.Machine, addrPort(b, 7000), 1000)
	check(t, err)
	for range 10 {
		changed := a.device(b, c)
		changed.Peers[1].Keepalive = 25 * time.Second
		a.apply(changed)
		changed.Peers[1].AllowedIPs = append(changed.Peers[1].AllowedIPs, prefix("2001:db8:bbbb::/64"))
		a.apply(changed)
		a.apply(a.device(b, c)) // withdrawn
		a.apply(a.device(b))    // removed
		more := a.device(b)
		more.Peers[0].AllowedIPs = append(more.Peers[0].AllowedIPs, prefix("2001:db8:cccc::/64"))
		a.apply(more)
		a.apply(a.device(b, c))
		awaitMore(t, stream, 50)
	}
	lossless(t, stream, 500)
	if got := a.apply(a.device(b, c)); got != nil {
		t.Errorf("after all of it Apply changed %q", got)
	}
	a.reaches(c)
}

// A peer that was heard from elsewhere stays there while its configuration does not
// change, and goes where it says when that does.
func TestEndpoint(t *testing.T) {
	s := newScene(t, 2, true)
	a, b := s.nodes[0], s.nodes[1]
	s.join()
	a.reaches(b)
	moved := b.device(a)
	moved.ListenPort = 21099
	b.apply(moved)
	b.reaches(a)
	roamed := a.read(a.link(0)).Peers[0].Endpoint
	if roamed.Port() != 21099 {
		t.Fatalf("node 1 sees node 2 at %v", roamed)
	}
	if got := a.apply(a.device(b)); got != nil {
		t.Fatalf("Apply overwrote where the peer was heard from: %q", got)
	}
	a.open() // the next daemon
	if got := a.apply(a.device(b)); got != nil {
		t.Fatalf("the next daemon overwrote where the peer was heard from: %q", got)
	}
	b.port = 21077
	if got := strings.Join(a.apply(a.device(b)), "\n"); !strings.Contains(got, "endpoint 192.0.2.2:21077") {
		t.Fatalf("the new endpoint was not taken: %q", got)
	}
	if got := a.read(a.link(0)).Peers[0].Endpoint.Port(); got != 21077 {
		t.Fatalf("node 1 has the port %d of node 2", got)
	}
	b.apply(b.device(a))
	a.reaches(b)
}

// A peer that is not to be called any more has no endpoint then, and keeps its prefix.
func TestForget(t *testing.T)       { forget(t, true) }
func TestKernelForget(t *testing.T) { forget(t, false) }

func forget(t *testing.T, userspace bool) {
	s := newScene(t, 2, userspace)
	a, b := s.nodes[0], s.nodes[1] // which is not there
	a.apply(a.device(b))
	gone := a.device(b)
	gone.Peers[0].Endpoint = netip.AddrPort{}
	a.apply(gone)
	if p := a.read(a.link(0)).Peers[0]; p.Endpoint.IsValid() || len(p.AllowedIPs) != 1 {
		t.Errorf("the peer has the endpoint %v and %d prefixes, want none and 1", p.Endpoint, len(p.AllowedIPs))
	}
	if got := a.apply(gone); got != nil {
		t.Errorf("a second Apply changed %q", got)
	}
	s.join()
	b.reaches(a)
}
