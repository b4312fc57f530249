//go:build vm

package vm

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
)

// The documents of these tests, and their ports.
const (
	red = `network: red
nodes: [n1]
default: {inside: deny, inbound: deny, outbound: allow}
services:
  web: {ports: [tcp/80]}
  db:  {ports: [tcp/5432]}
rules:
  - allow: {from: web, to: db, ports: [tcp/5432, udp/9000]}
expose:
  - {service: web, ports: [tcp/80]}
`
	blue = `network: blue
nodes: [n1]
default: {inside: deny, inbound: deny, outbound: allow}
services:
  api: {ports: [tcp/80]}
expose:
  - {service: api, ports: [tcp/80]}
`
	sshPort  = 22
	webPort  = 80
	dbPort   = 5432
	bulkPort = 9000
)

// The two ends of the cable between a node and the world.
var (
	worldIPv4 = netip.MustParseAddr("192.0.2.1")
	worldIPv6 = netip.MustParseAddr("2001:db8:1::1")
)

// everywhere is a port on every address of a machine.
func everywhere(port uint16) netip.AddrPort { return netip.AddrPortFrom(netip.IPv6Unspecified(), port) }

// serve answers HTTP on a machine until the test ends.
func serve(t *testing.T, on *lab.Machine, at netip.AddrPort) {
	t.Helper()
	s, err := probe.ServeHTTP(on, at, on.Name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
}

// bound is how long a probe may take: an answer is waited for as long as a slow
// guest may need, silence for as long as a lost SYN takes to be sent again.
func bound(want probe.Outcome) time.Duration {
	if want == probe.Silent {
		return 1500 * time.Millisecond
	}
	return within
}

// connects says what a TCP connect must come to.
func connects(t *testing.T, from *lab.Machine, to netip.AddrPort, want probe.Outcome) {
	t.Helper()
	got, err := probe.Connect(t.Context(), from, to, bound(want))
	if err != nil || got != want {
		t.Errorf("connect %s → %v: %s %v, want %s", from.Name, to, got, err, want)
	}
}

// pings is connects for echo requests.
func pings(t *testing.T, from *lab.Machine, to netip.Addr, want probe.Outcome) {
	t.Helper()
	got, err := probe.Ping(from, to, bound(want))
	if err != nil || got != want {
		t.Errorf("ping %s → %v: %s %v, want %s", from.Name, to, got, err, want)
	}
}

// closed holds that a stranger gets no answer from the addresses of a host. All
// is tried at once: silence takes its time.
func closed(t *testing.T, from *lab.Machine, addresses ...netip.Addr) {
	t.Helper()
	all(t, from, probe.Silent, addresses)
}

// open holds that the host answers: what closed sees is then the lockdown's work.
func open(t *testing.T, from *lab.Machine, addresses ...netip.Addr) {
	t.Helper()
	all(t, from, probe.Answered, addresses)
}

func all(t *testing.T, from *lab.Machine, want probe.Outcome, addresses []netip.Addr) {
	t.Helper()
	var group sync.WaitGroup
	for _, a := range addresses {
		group.Go(func() { pings(t, from, a, want) })
		group.Go(func() { connects(t, from, netip.AddrPortFrom(a, sshPort), want) })
	}
	group.Wait()
}
