package node

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
	"github.com/zosnet/zosnet/test/testenv"
)

const million = 1_000_000

// TestFlowFlood lets a workload open a million flows as fast as it can, with
// the daemon running and dead. Another network's flows, old and new, do not
// notice.
func TestFlowFlood(t *testing.T) {
	testenv.Short(t, "a minute")
	n := startTenants(t, lab.Config{})
	n.serve(n.api.Machine, at(n.api, webPort))
	n.serve(n.store.Machine, at(n.store, storePort))
	gateway := n.gateway(n.db)
	wire := n.wire(n.db.Machine)
	flood := func() {
		frame := mustFrame(t, probe.Ethernet(wire.MAC, gateway.MAC, layers.EthernetTypeIPv6),
			probe.IPv6(n.db.Address, lab.OutsideIPv6, layers.IPProtocolUDP), probe.UDP(1, 1), payload(8))
		n.send(wire, million, asFastAsItCan, func(i uint32) []byte {
			binary.BigEndian.PutUint32(frame[transport:], i+1<<16)
			clear(frame[transport+6 : transport+8])
			binary.BigEndian.PutUint16(frame[transport+6:], udpChecksum(frame))
			return frame
		})
	}
	n.floods(flood, func() {
		n.connects(n.Outside, at(n.api, webPort), probe.Answered)
		n.connects(n.api.Machine, at(n.store, storePort), probe.Answered)
	})
}

// TestSYNFlood lets a stranger flood an exposed port from addresses that do
// not exist. Other networks do not notice, nor do the target's established
// flows.
func TestSYNFlood(t *testing.T) {
	testenv.Short(t, "a minute")
	n := startTenants(t, lab.Config{})
	n.serve(n.api.Machine, at(n.api, webPort))
	target, err := probe.StartStream(t.Context(), n.Outside, n.web.Machine, at(n.web, webPort), probe.ServerSends)
	if err != nil {
		t.Fatal(err)
	}
	defer target.Stop()
	inside, err := probe.StartStream(t.Context(), n.web.Machine, n.db.Machine, at(n.db, bulkPort), probe.ClientSends)
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Stop()
	wire := n.wire(n.Outside)
	router := n.routerMAC()
	// From far away: neighbours that do not exist would fill the neighbour
	// table, which all namespaces of a machine share.
	nobody := netip.MustParseAddr("2001:db8:bad::1")
	if out, err := n.Router.Run(t.Context(), "ip", "-6", "route", "add", "blackhole", "2001:db8:bad::/48"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	flood := func() {
		frame := mustFrame(t, probe.Ethernet(wire.MAC, router, layers.EthernetTypeIPv6),
			probe.IPv6(nobody, n.web.Address, layers.IPProtocolTCP), probe.SYN(1, webPort))
		n.send(wire, million/2, strangerRate, func(i uint32) []byte {
			binary.BigEndian.PutUint32(frame[source+10:], i)
			binary.BigEndian.PutUint16(frame[transport:], uint16(i)|1)
			clear(frame[transport+16 : transport+18])
			binary.BigEndian.PutUint16(frame[transport+16:], tcpChecksum(frame))
			return frame
		})
	}
	n.floods(flood, func() {
		n.connects(n.Outside, at(n.api, webPort), probe.Answered)
		for name, s := range map[string]*probe.Stream{"from outside": target, "inside": inside} {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			if err := s.WaitProgress(ctx, 200_000); err != nil {
				t.Errorf("the target's established stream %s: %v", name, err)
			}
			cancel()
		}
	})
}

// floods runs a flood twice, the second time without a daemon, with blue's
// numbered flow and what check tries beside it and after it.
func (n *tenants) floods(flood, check func()) {
	n.t.Helper()
	for _, daemon := range []string{"running", "dead"} {
		if daemon == "dead" {
			if err := n.daemon.Kill(); err != nil {
				n.t.Fatal(err)
			}
		}
		dropped := backlogDrops(n.t)
		r, err := n.besides(n.api, n.store, bulkPort, func() {
			done := make(chan struct{})
			go func() { defer close(done); flood() }()
			for running := true; running; {
				select {
				case <-done:
					running = false
				default:
				}
				check()
			}
		})
		dropped = backlogDrops(n.t) - dropped
		// All namespaces of this machine share a backlog of a thousand packets a
		// processor. Where that overflowed, a datagram in a thousand is its loss.
		allowed := uint64(0)
		if dropped > 0 {
			allowed = r.Sent / 1000
		}
		if err != nil || r.Lost > allowed {
			n.t.Errorf("the flow %s → %s was disturbed: %+v %v; the machine's backlog dropped %d packets", n.api.Name, n.store.Name, r, err, dropped)
		}
		if n.t.Failed() {
			n.t.Fatalf("with the daemon %s", daemon)
		}
	}
}

// strangerRate is a stranger's packets a second. What crosses the lab's router
// waits in the machine's backlog, a thousand packets a processor for all its
// namespaces: a faster flood would lose packets there, before any program.
const strangerRate = 40_000

const asFastAsItCan = 0

// send sends count frames, in bursts of a millisecond where a rate is given.
func (n *node) send(wire *probe.Wire, count uint32, rate int, frame func(uint32) []byte) {
	began := time.Now()
	for i := range count {
		if rate > 0 {
			ahead := time.Duration(i)*time.Second/time.Duration(rate) - time.Since(began)
			if ahead > time.Millisecond {
				time.Sleep(ahead)
			}
		}
		err := wire.Send(frame(i))
		for tries := 0; errors.Is(err, unix.ENOBUFS) && tries < 1000; tries++ { // the machine's backlog is full
			time.Sleep(time.Millisecond)
			err = wire.Send(frame(i))
		}
		if err != nil {
			n.t.Errorf("frame %d: %v", i, err)
			return
		}
	}
	n.t.Logf("%d flows in %v", count, time.Since(began).Round(time.Millisecond))
}

// routerMAC is the router's MAC on the outside segment.
func (n *node) routerMAC() net.HardwareAddr {
	n.t.Helper()
	via := netip.MustParseAddr("2001:db8:2::1")
	n.pings(n.Outside, via, probe.Answered)
	mac, err := n.Outside.Neighbour("eth0", via)
	if err != nil {
		n.t.Fatal(err)
	}
	return mac
}

// Where things stand in an Ethernet frame with a plain IPv6 packet.
const (
	source    = 14 + 8
	transport = 14 + 40
)

func udpChecksum(frame []byte) uint16 {
	sum := checksum(frame, 17)
	if sum == 0 {
		return 0xffff // RFC 8200, 8.1
	}
	return sum
}

func tcpChecksum(frame []byte) uint16 { return checksum(frame, 6) }

// checksum is the Internet checksum over the pseudo header and what follows
// (RFC 8200, 8.1). The checksum field is zero; the length is even.
func checksum(frame []byte, protocol uint32) uint16 {
	sum := protocol + uint32(len(frame)-transport)
	for i := source; i < len(frame); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(frame[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

func TestChecksum(t *testing.T) {
	src, dst := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	for name, test := range map[string]struct {
		frame []byte
		at    int
		sum   func([]byte) uint16
	}{
		"UDP": {mustFrame(t, probe.Ethernet(mac, mac, layers.EthernetTypeIPv6), probe.IPv6(src, dst, layers.IPProtocolUDP), probe.UDP(3, 4), payload(8)), 6, udpChecksum},
		"TCP": {mustFrame(t, probe.Ethernet(mac, mac, layers.EthernetTypeIPv6), probe.IPv6(src, dst, layers.IPProtocolTCP), probe.SYN(3, 4)), 16, tcpChecksum},
	} {
		want := binary.BigEndian.Uint16(test.frame[transport+test.at:])
		clear(test.frame[transport+test.at : transport+test.at+2])
		if got := test.sum(test.frame); got != want {
			t.Errorf("%s: got %#x, want %#x", name, got, want)
		}
	}
}

func mustFrame(t *testing.T, stack ...gopacket.SerializableLayer) []byte {
	t.Helper()
	frame, err := probe.Frame(stack...)
	if err != nil {
		t.Fatal(fmt.Errorf("build a frame: %w", err))
	}
	return frame
}
