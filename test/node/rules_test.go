package node

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
)

// change is a document's edit that takes an opening away, and the traffic
// that went through it.
type change struct {
	name     string
	old, new string // in red
	client   func(*tenants) *lab.Machine
	server   func(*tenants) (*lab.Machine, netip.AddrPort)
	udp      func(*tenants) (*lab.Machine, netip.AddrPort)
}

// tenants is a node with red and blue and their workloads.
type tenants struct {
	*node
	web, db, api, store *lab.Workload
}

func startTenants(t *testing.T, config lab.Config) *tenants {
	t.Helper()
	n := &tenants{node: start(t, config)}
	n.apply(red, blue)
	n.web, n.db = n.attach("red", "web", "web-1"), n.attach("red", "db", "db-1")
	n.api, n.store = n.attach("blue", "api", "api-1"), n.attach("blue", "store", "store-1")
	return n
}

func outside(n *tenants) *lab.Machine { return n.Outside }
func fromWeb(n *tenants) *lab.Machine { return n.web.Machine }
func fromAPI(n *tenants) *lab.Machine { return n.api.Machine }

// The same rule counts for a stream and for an exchange of datagrams, whoever
// sends; nothing of it may disturb the other network.
var changes = []change{
	{
		name: "rule between services",
		old:  "  - allow: {from: web, to: db, ports: [tcp/5432, tcp/9000, udp/9000]}",
		new:  "  - allow: {from: web, to: db, ports: [tcp/5432]}",

		client: fromWeb,
		server: func(n *tenants) (*lab.Machine, netip.AddrPort) { return n.db.Machine, at(n.db, bulkPort) },
		udp:    func(n *tenants) (*lab.Machine, netip.AddrPort) { return n.db.Machine, at(n.db, bulkPort) },
	},
	{
		name: "expose",
		old:  "  - {service: web, ports: [tcp/80, udp/53]}",
		new:  "  - {service: db, ports: [tcp/5432]}",

		client: outside,
		server: func(n *tenants) (*lab.Machine, netip.AddrPort) { return n.web.Machine, at(n.web, webPort) },
		udp:    func(n *tenants) (*lab.Machine, netip.AddrPort) { return n.web.Machine, at(n.web, dnsPort) },
	},
	{
		name: "expose towards another network",
		old:  "  - {service: web, ports: [tcp/80, udp/53]}",
		new:  "  - {service: web, ports: [tcp/443]}",

		client: fromAPI,
		server: func(n *tenants) (*lab.Machine, netip.AddrPort) { return n.web.Machine, at(n.web, webPort) },
		udp:    func(n *tenants) (*lab.Machine, netip.AddrPort) { return n.web.Machine, at(n.web, dnsPort) },
	},
	{
		name: "way out",
		old:  "outbound: allow",
		new:  "outbound: deny",

		client: fromWeb,
		server: func(n *tenants) (*lab.Machine, netip.AddrPort) {
			return n.Outside, netip.AddrPortFrom(lab.OutsideIPv6, 8080)
		},
		udp: func(n *tenants) (*lab.Machine, netip.AddrPort) {
			return n.Outside, netip.AddrPortFrom(lab.OutsideIPv6, 8080)
		},
	},
	{
		name: "a deny rule put before",
		old:  "rules:",
		new:  "rules:\n  - deny: {from: web, to: db}",

		client: fromWeb,
		server: func(n *tenants) (*lab.Machine, netip.AddrPort) { return n.db.Machine, at(n.db, bulkPort) },
		udp:    func(n *tenants) (*lab.Machine, netip.AddrPort) { return n.db.Machine, at(n.db, bulkPort) },
	},
}

func TestRuleTakenAway(t *testing.T) {
	n := startTenants(t, lab.Config{})
	for _, c := range changes {
		closed := strings.Replace(red, c.old, c.new, 1)
		if closed == red {
			t.Fatalf("%s: red has no %q", c.name, c.old)
		}
		t.Run(c.name, func(t *testing.T) {
			for name, sender := range map[string]probe.Sender{"client sends": probe.ClientSends, "server sends": probe.ServerSends} {
				t.Run(name, func(t *testing.T) { n.inTest(t).streamStops(c, closed, sender) })
			}
			t.Run("UDP", func(t *testing.T) { n.inTest(t).exchangeStops(c, closed) })
		})
	}
}

// inTest is the same node in a sub-test.
func (n *tenants) inTest(t *testing.T) *tenants {
	inner, outer := *n.node, *n
	inner.t = t
	outer.node = &inner
	return &outer
}

func (n *tenants) streamStops(c change, closed string, sender probe.Sender) {
	t := n.t
	n.apply(red)
	machine, address := c.server(n)
	stream, err := probe.StartStream(t.Context(), c.client(n), machine, address, sender)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	if err := stream.WaitProgress(ctx, 100_000); err != nil {
		t.Fatal(err)
	}
	n.undisturbed(n.api, n.store, asidePort, func() {
		before := time.Now()
		n.apply(closed)
		// Quiet for long enough that both ends have sent again, so a stop is
		// one that stays.
		last, err := stream.WaitStall(ctx, 2*time.Second)
		if err != nil {
			t.Error(err)
		}
		if took := last.Sub(before); took > time.Second {
			t.Errorf("the last byte came %v after the command began, want 1s at most", took)
		}
	})
	stopped := stream.Bytes()
	n.connects(c.client(n), address, probe.Silent)
	n.apply(red)
	n.letsIn(c.client(n), address)
	if n := stream.Bytes(); n != stopped {
		// The rule is back, and with it the flow may be judged allowed again.
		t.Logf("the old stream went on by %d bytes after the rule came back", n-stopped)
	}
}

// letsIn fails the test unless a new connection succeeds within a second of
// the apply before it.
func (n *tenants) letsIn(from *lab.Machine, to netip.AddrPort) {
	n.t.Helper()
	began := time.Now()
	n.connects(from, to, probe.Answered)
	if took := time.Since(began); took > time.Second {
		n.t.Errorf("a new connection was let in after %v, want 1s at most", took)
	}
}

func (n *tenants) exchangeStops(c change, closed string) {
	t := n.t
	n.apply(red)
	machine, address := c.udp(n)
	n.echo(machine, address)
	conn, err := c.client(n).Dial(t.Context(), "udp", address.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := probe.ExchangeOn(conn, within); err != nil {
		t.Fatalf("before: %v", err)
	}
	n.undisturbed(n.api, n.store, asidePort, func() {
		n.apply(closed)
		// From here on, every datagram of a second is answered by silence.
		if err := silence(conn, 2*time.Second); err != nil {
			t.Error(err)
		}
	})
	n.apply(red)
	n.exchanges(c.client(n), address, probe.Answered)
}

// silence sends datagrams for the time given, and complains of any answer.
func silence(conn net.Conn, during time.Duration) error {
	// What was answered before the change may still be in the socket.
	buf := make([]byte, 2048)
	for {
		if err := conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			return err
		}
		if _, err := conn.Read(buf); err != nil {
			break
		}
	}
	for end := time.Now().Add(during); time.Now().Before(end); {
		err := probe.ExchangeOn(conn, 200*time.Millisecond)
		if err == nil {
			return errors.New("a datagram was answered after the rule was taken away")
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
	return nil
}

// TestStaysStopped restarts the daemon after a rule was taken away: the flow
// that it stopped does not come back, and neither end can start it again.
func TestStaysStopped(t *testing.T) {
	n := startTenants(t, lab.Config{})
	stream, err := probe.StartStream(t.Context(), n.web.Machine, n.db.Machine, at(n.db, bulkPort), probe.ServerSends)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := stream.WaitProgress(ctx, 100_000); err != nil {
		t.Fatal(err)
	}
	n.apply(strings.Replace(red, changes[0].old, changes[0].new, 1))
	if _, err := stream.WaitStall(ctx, time.Second); err != nil {
		t.Fatal(err)
	}
	stopped := stream.Bytes()
	if err := n.daemon.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := n.daemon.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.WaitStall(ctx, 4*time.Second); err != nil || stream.Bytes() != stopped {
		t.Errorf("after a restart it flows again: %d bytes more, %v", stream.Bytes()-stopped, err)
	}
}
