package node

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
	"github.com/zosnet/zosnet/test/testenv"
)

// within bounds one try: long enough for a lost SYN to be sent again.
const within = 1500 * time.Millisecond

// node is a lab with a running daemon, for one test.
type node struct {
	*lab.Lab
	daemon *lab.Daemon
	t      *testing.T
}

// start makes a lab named after the test and starts its daemon. All of it
// goes with the test; a failed test shows the end of the daemon's log.
func start(t *testing.T, config lab.Config) *node {
	t.Helper()
	n := unstarted(t, config)
	daemon, err := n.StartDaemon(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n.daemon = daemon
	return n
}

// unstarted is a lab whose daemon has not been started.
func unstarted(t *testing.T, config lab.Config) *node {
	t.Helper()
	testenv.RequireBPF(t)
	testenv.RequireTool(t, "nsenter")
	config.Zosnet = testenv.Zosnet(t)
	if config.Name == "" {
		config.Name = labName(t.Name())
	}
	l, err := lab.New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{Lab: l, t: t}
	t.Cleanup(func() {
		if t.Failed() {
			n.showLog()
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// labName makes TestSomething into "something", cut to what a lab may be
// called.
func labName(test string) string {
	name := strings.ToLower(strings.TrimPrefix(strings.ReplaceAll(test, "/", ""), "Test"))
	return name[:min(len(name), 20)]
}

func (n *node) showLog() {
	const tail = 6000
	text, err := os.ReadFile(n.Path("daemon.log"))
	if err != nil {
		return
	}
	if len(text) > tail {
		text = text[len(text)-tail:]
	}
	n.t.Logf("the daemon's log:\n%s", text)
}

func (n *node) apply(documents ...string) {
	n.t.Helper()
	if err := n.daemon.Apply(n.t.Context(), documents...); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) attach(network, service, name string) *lab.Workload {
	n.t.Helper()
	w, err := n.daemon.Attach(n.t.Context(), network, service, name)
	if err != nil {
		n.t.Fatal(err)
	}
	return w
}

// serve answers HTTP on a machine until the test ends.
func (n *node) serve(on *lab.Machine, at netip.AddrPort) {
	n.t.Helper()
	s, err := probe.ServeHTTP(on, at, on.Name)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(s.Close)
}

// echo answers UDP on a machine until the test ends.
func (n *node) echo(on *lab.Machine, at netip.AddrPort) {
	n.t.Helper()
	s, err := probe.ServeEcho(on, at)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(s.Close)
}

func (n *node) wire(on *lab.Machine) *probe.Wire {
	n.t.Helper()
	w, err := probe.OpenWire(on, "eth0")
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(w.Close)
	return w
}

// watch starts a monitor and proves that it sees drops before the test goes
// on: only then does a drop that it does not show count as missing.
func (n *node) watch() *lab.Monitor {
	n.t.Helper()
	m, err := n.daemon.Monitor(n.t.Context())
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(m.Close)
	const discard = 9
	conn, err := n.Outside.Dial(n.t.Context(), "udp", netip.AddrPortFrom(lab.NodeIPv4, discard).String())
	if err != nil {
		n.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	n.eventually(10*time.Second, func() error {
		if _, err := conn.Write([]byte("?")); err != nil {
			return err
		}
		seen, err := m.Seen(func(d lab.Drop) bool { return d.Dport == discard })
		if err == nil && len(seen) == 0 {
			err = fmt.Errorf("the monitor shows no drop of a datagram to the host")
		}
		return err
	})
	return m
}

// eventually repeats try until it returns nil, and fails the test with its
// last error when the time is over.
func (n *node) eventually(bound time.Duration, try func() error) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), bound)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			n.t.Fatalf("still so after %v: %v", bound, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// connects says what a TCP connect must come to, and fails the test if not.
func (n *node) connects(from *lab.Machine, to netip.AddrPort, want probe.Outcome) {
	n.t.Helper()
	got, err := probe.Connect(n.t.Context(), from, to, within)
	if err != nil || got != want {
		n.t.Errorf("connect %s → %v: %s %v, want %s", from.Name, to, got, err, want)
	}
}

// exchanges is connects for UDP.
func (n *node) exchanges(from *lab.Machine, to netip.AddrPort, want probe.Outcome) {
	n.t.Helper()
	got, err := probe.Exchange(n.t.Context(), from, to, within)
	if err != nil || got != want {
		n.t.Errorf("exchange %s → %v: %s %v, want %s", from.Name, to, got, err, want)
	}
}

// pings is connects for echo requests.
func (n *node) pings(from *lab.Machine, to netip.Addr, want probe.Outcome) {
	n.t.Helper()
	got, err := probe.Ping(from, to, within)
	if err != nil || got != want {
		n.t.Errorf("ping %s → %v: %s %v, want %s", from.Name, to, got, err, want)
	}
}

// together makes several tries at once: silence takes a while each time.
func together(tries ...func()) {
	var wait sync.WaitGroup
	for _, try := range tries {
		wait.Go(try)
	}
	wait.Wait()
}

// undisturbed runs a numbered flow from one workload to another while f runs,
// and fails the test if a single datagram of it is lost.
func (n *node) undisturbed(from, to *lab.Workload, port uint16, f func()) {
	n.t.Helper()
	dropped := backlogDrops(n.t)
	r, err := n.besides(from, to, port, f)
	if err != nil || r.Lost > 0 || r.Duplicates > 0 {
		n.t.Errorf("the flow %s → %s next to it was disturbed: %+v %v (meanwhile this machine's backlog dropped %d packets of all namespaces)",
			from.Name, to.Name, r, err, backlogDrops(n.t)-dropped)
	}
}

// besides runs a numbered flow from one workload to another while f runs, and
// tells what became of it.
func (n *node) besides(from, to *lab.Workload, port uint16, f func()) (probe.SequenceReport, error) {
	n.t.Helper()
	s, err := probe.StartSequence(n.t.Context(), from.Machine, to.Machine, netip.AddrPortFrom(to.Address, port), 1000)
	if err != nil {
		n.t.Fatal(err)
	}
	n.eventually(5*time.Second, func() error {
		if s.Received() < 100 {
			return fmt.Errorf("%s → %s: %d datagrams came", from.Name, to.Name, s.Received())
		}
		return nil
	})
	f()
	return s.Stop()
}

// backlogDrops is how many packets this machine has dropped since its boot
// because a processor's backlog was full (the second column of softnet_stat).
func backlogDrops(t *testing.T) uint64 {
	t.Helper()
	text, err := os.ReadFile("/proc/net/softnet_stat")
	if err != nil {
		t.Fatal(err)
	}
	var sum uint64
	for line := range strings.Lines(string(text)) {
		var processed, dropped uint64
		if _, err := fmt.Sscanf(line, "%x %x", &processed, &dropped); err != nil {
			t.Fatal(err)
		}
		sum += dropped
	}
	return sum
}

func at(w *lab.Workload, port uint16) netip.AddrPort { return netip.AddrPortFrom(w.Address, port) }

// everywhere is a port on every address of a machine, IPv4 and IPv6.
func everywhere(port uint16) netip.AddrPort { return netip.AddrPortFrom(netip.IPv6Unspecified(), port) }
