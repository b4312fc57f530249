package probe_test

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/vishvananda/netns"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
	"github.com/zosnet/zosnet/test/testenv"
)

// within is long enough for a SYN to be sent twice.
const within = 1500 * time.Millisecond

func newLab(t *testing.T, config lab.Config) *lab.Lab {
	t.Helper()
	testenv.RequireRoot(t)
	testenv.RequireTool(t, "nsenter")
	l, err := lab.New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// filter makes the router's forward chain do what verdict says to packets to
// a destination port, and returns what takes the rule away.
func filter(t *testing.T, on *lab.Machine, port uint16, verdict ...expr.Any) func() {
	t.Helper()
	ns, err := netns.GetFromPath(on.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ns.Close() }()
	nft, err := nftables.New(nftables.WithNetNSFd(int(ns)), nftables.AsLasting())
	if err != nil {
		t.Fatal(err)
	}
	table := nft.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "probe"})
	chain := nft.AddChain(&nftables.Chain{
		Name: "forward", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter,
	})
	nft.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append([]expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Register: 1, Op: expr.CmpOpEq, Data: binaryutil.BigEndian.PutUint16(port)},
	}, verdict...)})
	if err := nft.Flush(); err != nil {
		t.Fatal(err)
	}
	return func() {
		nft.DelTable(table)
		if err := nft.Flush(); err != nil {
			t.Error(err)
		}
		_ = nft.CloseLasting()
	}
}

var drop = &expr.Verdict{Kind: expr.VerdictDrop}

func TestOutcomes(t *testing.T) {
	l := newLab(t, lab.Config{Name: "outcomes"})
	open := netip.AddrPortFrom(lab.NodeIPv6, 8080)
	server, err := probe.ServeHTTP(l.Node, open, "here")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	echo, err := probe.ServeEcho(l.Node, netip.AddrPortFrom(lab.NodeIPv4, 7))
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	defer filter(t, l.Router, 9, drop)()
	nowhere := netip.MustParseAddr("2001:db8:dead::1")

	connect := func(to netip.Addr, port uint16) func() (probe.Outcome, error) {
		return func() (probe.Outcome, error) {
			return probe.Connect(t.Context(), l.Outside, netip.AddrPortFrom(to, port), within)
		}
	}
	exchange := func(to netip.Addr, port uint16) func() (probe.Outcome, error) {
		return func() (probe.Outcome, error) {
			return probe.Exchange(t.Context(), l.Outside, netip.AddrPortFrom(to, port), within)
		}
	}
	ping := func(to netip.Addr) func() (probe.Outcome, error) {
		return func() (probe.Outcome, error) { return probe.Ping(l.Outside, to, within) }
	}
	tests := []struct {
		name string
		try  func() (probe.Outcome, error)
		want probe.Outcome
	}{
		{"a listening TCP port", connect(lab.NodeIPv6, 8080), probe.Answered},
		{"a closed TCP port", connect(lab.NodeIPv6, 8081), probe.Refused},
		{"a closed TCP port, IPv4", connect(lab.NodeIPv4, 8081), probe.Refused},
		{"a filtered TCP port", connect(lab.NodeIPv6, 9), probe.Silent},
		{"a TCP port where no route leads", connect(nowhere, 80), probe.Unreachable},
		{"a UDP echo", exchange(lab.NodeIPv4, 7), probe.Answered},
		{"a closed UDP port", exchange(lab.NodeIPv4, 8), probe.Refused},
		{"a filtered UDP port", exchange(lab.NodeIPv4, 9), probe.Silent},
		{"a UDP port where no route leads", exchange(nowhere, 7), probe.Unreachable},
		{"ping, IPv4", ping(lab.NodeIPv4), probe.Answered},
		{"ping, IPv6", ping(lab.NodeIPv6), probe.Answered},
		{"ping where no route leads", ping(nowhere), probe.Unreachable},
		{"HTTP", func() (probe.Outcome, error) {
			body, outcome, err := probe.Get(t.Context(), l.Outside, open, within)
			if body != "here" {
				t.Errorf("body %q, want %q", body, "here")
			}
			return outcome, err
		}, probe.Answered},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got, err := test.try(); err != nil || got != test.want {
				t.Errorf("got %q, %v; want %q", got, err, test.want)
			}
		})
	}
}

func TestNmap(t *testing.T) {
	testenv.RequireTool(t, "nmap")
	l := newLab(t, lab.Config{Name: "nmap"})
	server, err := probe.ServeHTTP(l.Node, netip.MustParseAddrPort("[::]:80"), "here")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	defer filter(t, l.Router, 443, drop)()
	for _, to := range []netip.Addr{lab.NodeIPv4, lab.NodeIPv6} {
		scan, err := probe.Nmap(t.Context(), l.Outside, to, "-sS", "-p80,81,443", "--max-retries=1")
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"tcp/80 open (syn-ack)", "tcp/81 closed (reset)"}
		if scan.Quiet != 1 || !slices.Equal(scan.Answered, want) {
			t.Errorf("%v: got %+v, want %q and one quiet port", to, scan, want)
		}
	}
}

func TestSequence(t *testing.T) {
	l := newLab(t, lab.Config{Name: "sequence"})
	at := netip.AddrPortFrom(lab.NodeIPv6, 5000)
	run := func(t *testing.T, meanwhile func(*probe.Sequence)) probe.SequenceReport {
		s, err := probe.StartSequence(t.Context(), l.Outside, l.Node, at, 1000)
		if err != nil {
			t.Fatal(err)
		}
		await(t, func() bool { return s.Received() >= 300 })
		meanwhile(s)
		before := s.Received()
		await(t, func() bool { return s.Received() >= before+300 })
		r, err := s.Stop()
		if err != nil {
			t.Error(err)
		}
		return r
	}
	t.Run("an open path has no gap", func(t *testing.T) {
		r := run(t, func(*probe.Sequence) {})
		if r.Lost != 0 || len(r.Gaps) != 0 || r.Duplicates != 0 || r.Received != r.Sent || r.Sent < 600 {
			t.Errorf("got %+v, want all of at least 600 once", r)
		}
	})
	t.Run("a path closed for a while has one", func(t *testing.T) {
		r := run(t, func(s *probe.Sequence) {
			open := filter(t, l.Router, 5000, drop)
			last := s.Received()
			await(t, func() bool { return time.Since(s.Last()) > 100*time.Millisecond })
			if s.Received() > last+100 {
				t.Errorf("%d datagrams passed the closed path", s.Received()-last)
			}
			open()
		})
		if len(r.Gaps) != 1 || r.Lost < 50 || r.Lost != r.Gaps[0].Last-r.Gaps[0].First+1 || r.Received+r.Lost != r.Sent {
			t.Errorf("got %+v, want one gap of some 100", r)
		}
	})
}

func TestStream(t *testing.T) {
	l := newLab(t, lab.Config{Name: "stream"})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for name, sender := range map[string]probe.Sender{"client sends": probe.ClientSends, "server sends": probe.ServerSends} {
		t.Run(name, func(t *testing.T) {
			at := netip.AddrPortFrom(lab.NodeIPv6, 5001)
			s, err := probe.StartStream(ctx, l.Outside, l.Node, at, sender)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Stop()
			if err := s.WaitProgress(ctx, 100_000); err != nil {
				t.Fatal(err)
			}
			open := filter(t, l.Router, 5001, drop)
			closed := time.Now()
			// Closing one direction stops both senders: one loses its data,
			// the other its acknowledgements.
			last, err := s.WaitStall(ctx, 300*time.Millisecond)
			if err != nil || last.Sub(closed) > time.Second {
				t.Errorf("stalled %v after the path closed, %v", last.Sub(closed), err)
			}
			open()
			if err := s.WaitProgress(ctx, 100_000); err != nil {
				t.Errorf("after the path opened again: %v", err)
			}
		})
	}
}

func TestWire(t *testing.T) {
	l := newLab(t, lab.Config{Name: "wire", LAN: true})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	lan, err := probe.OpenWire(l.LAN, "eth0")
	if err != nil {
		t.Fatal(err)
	}
	defer lan.Close()
	node, err := probe.OpenWire(l.Node, "eth0")
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()

	t.Run("a crafted echo request is answered", func(t *testing.T) {
		send(t, lan, probe.Ethernet(lan.MAC, node.MAC, layers.EthernetTypeIPv6),
			probe.IPv6(lab.LANIPv6, lab.NodeIPv6, layers.IPProtocolICMPv6),
			probe.ICMPv6(layers.ICMPv6TypeEchoRequest, 0), probe.EchoRequest(0xbeef, 1))
		_, err := lan.Wait(ctx, func(p gopacket.Packet) bool {
			echo, ok := p.Layer(layers.LayerTypeICMPv6Echo).(*layers.ICMPv6Echo)
			return ok && echo.Identifier == 0xbeef
		})
		if err != nil {
			t.Error(err)
		}
	})
	t.Run("a neighbour solicitation is answered", func(t *testing.T) {
		group := probe.SolicitedNode(lab.NodeIPv6)
		send(t, lan, probe.Ethernet(lan.MAC, probe.MulticastMAC(group), layers.EthernetTypeIPv6),
			probe.NDIPv6(lab.LANIPv6, group), probe.ICMPv6(layers.ICMPv6TypeNeighborSolicitation, 0),
			probe.NeighborSolicitation(lab.NodeIPv6, lan.MAC))
		_, err := lan.Wait(ctx, func(p gopacket.Packet) bool {
			na, ok := p.Layer(layers.LayerTypeICMPv6NeighborAdvertisement).(*layers.ICMPv6NeighborAdvertisement)
			return ok && na.TargetAddress.Equal(lab.NodeIPv6.AsSlice())
		})
		if err != nil {
			t.Error(err)
		}
	})
	t.Run("a VLAN tag survives both ways", func(t *testing.T) {
		send(t, lan, probe.Ethernet(lan.MAC, node.MAC, layers.EthernetTypeDot1Q),
			&layers.Dot1Q{VLANIdentifier: 42, Type: layers.EthernetTypeIPv6},
			probe.IPv6(lab.LANIPv6, lab.NodeIPv6, layers.IPProtocolUDP), probe.UDP(1, 2), gopacket.Payload("x"))
		p, err := node.Wait(ctx, func(p gopacket.Packet) bool { return p.Layer(layers.LayerTypeDot1Q) != nil })
		if err != nil {
			t.Fatal(err)
		}
		if id := p.Layer(layers.LayerTypeDot1Q).(*layers.Dot1Q).VLANIdentifier; id != 42 {
			t.Errorf("VLAN %d, want 42", id)
		}
		if len(lan.Quiet(200*time.Millisecond, func(p gopacket.Packet) bool { return p.Layer(layers.LayerTypeDot1Q) != nil })) != 0 {
			t.Error("the node answered in a VLAN that it is not in")
		}
	})
}

func send(t *testing.T, w *probe.Wire, stack ...gopacket.SerializableLayer) {
	t.Helper()
	frame, err := probe.Frame(stack...)
	if err == nil {
		err = w.Send(frame)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// await waits until done, ten seconds at most.
func await(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); {
		if time.Now().After(deadline) {
			t.Fatal("waited ten seconds in vain")
		}
		time.Sleep(2 * time.Millisecond)
	}
}
