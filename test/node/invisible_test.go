package node

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
	"github.com/zosnet/zosnet/test/testenv"
)

// TestScan runs nmap over everything that a stranger can ask of a node on
// which real servers listen. No frame of the node's may come back.
func TestScan(t *testing.T) {
	testenv.RequireTool(t, "nmap")
	testenv.Short(t, "two minutes")
	n := unstarted(t, lab.Config{})
	for _, port := range []uint16{22, 80, 443, 6443} {
		n.serve(n.Node, everywhere(port))
	}
	n.echo(n.Node, everywhere(53))
	hosts := []netip.Addr{lab.NodeIPv4, lab.NodeIPv6}
	for _, host := range hosts {
		n.connects(n.Outside, netip.AddrPortFrom(host, 22), probe.Answered)
		n.exchanges(n.Outside, netip.AddrPortFrom(host, 53), probe.Answered)
		n.pings(n.Outside, host, probe.Answered)
	}
	daemon, err := n.StartDaemon(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n.daemon = daemon
	n.apply(red)
	db := n.attach("red", "db", "db-1")
	n.serve(db.Machine, at(db, dbPort))

	wire := n.wire(n.Outside)
	targets := slices.Concat(hosts, []netip.Addr{db.Address, db.Gateway(),
		netip.MustParseAddr("2001:db8:aaaa::1"), netip.MustParseAddr("2001:db8:aaaa:ffff::1")})
	for some := range slices.Chunk(targets, 2) { // at a time: this machine has few processors
		var tries []func()
		for _, target := range some {
			tries = append(tries, func() { n.pings(n.Outside, target, probe.Silent) })
			for _, scan := range [][]string{
				{"-sS", "-p1-65535", "--min-rate", "15000", "--max-retries", "1"},
				{"-sU", "--top-ports", "1000", "--min-rate", "2000", "--max-retries", "1"},
				{"-sO", "--min-rate", "1000", "--max-retries", "1"},
			} {
				tries = append(tries, func() {
					found, err := probe.Nmap(t.Context(), n.Outside, target, scan...)
					if err != nil || len(found.Answered) > 0 {
						t.Errorf("nmap %v %v: answered: %q, %v", scan, target, found.Answered, err)
					}
				})
			}
		}
		together(tries...)
	}
	for _, frame := range wire.Frames(fromAnyOf(targets)) {
		t.Errorf("the node said something to a stranger:\n%v", frame)
	}
}

// fromAnyOf matches IP packets from one of the addresses.
func fromAnyOf(sources []netip.Addr) func(gopacket.Packet) bool {
	return func(p gopacket.Packet) bool {
		if p.NetworkLayer() == nil {
			return false
		}
		src, ok := netip.AddrFromSlice(p.NetworkLayer().NetworkFlow().Src().Raw())
		for _, a := range sources {
			if ok && src == a {
				return true
			}
		}
		return false
	}
}

// TestOnLink plays a stranger on the node's own segment, who can send any
// frame. What must work on a link still does; nothing else is answered.
func TestOnLink(t *testing.T) {
	n := unstarted(t, lab.Config{LAN: true})
	n.serve(n.Node, everywhere(80))
	n.echo(n.Node, everywhere(53))
	lan, node := n.wire(n.LAN), n.wire(n.Node)
	for _, limit := range []string{"net/ipv4/icmp_ratelimit", "net/ipv6/icmp/ratelimit"} {
		if err := n.Node.Sysctl(limit, "0"); err != nil {
			t.Fatal(err)
		}
	}
	strange := strangeFrames(lan.MAC, node.MAC)
	// Without a daemon the node answers many of them: so they are well made.
	answered := 0
	for _, s := range strange {
		if len(answersTo(t, lan, node, s)) > 0 {
			answered++
		}
	}
	t.Logf("a plain kernel answers %d of %d frames", answered, len(strange))
	if answered < len(strange)/4 {
		t.Fatal("the frames prove too little")
	}
	daemon, err := n.StartDaemon(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n.daemon = daemon
	for _, s := range strange {
		t.Run(s.name, func(t *testing.T) {
			for _, answer := range answersTo(t, lan, node, s) {
				t.Errorf("answered:\n%v", answer)
			}
		})
	}
	t.Run("neighbour discovery and ARP work", func(t *testing.T) {
		n := n.inTest(t)
		for _, a := range []netip.Addr{lab.NodeIPv4, lab.NodeIPv6} {
			if _, err := n.LAN.Run(t.Context(), "ip", "neigh", "flush", "all"); err != nil {
				t.Fatal(err)
			}
			n.pings(n.LAN, a, probe.Silent)
			if mac, err := n.LAN.Neighbour("eth0", a); err != nil || mac.String() != node.MAC.String() {
				t.Errorf("neighbour %v: %v %v, want %v", a, mac, err, node.MAC)
			}
		}
	})
	t.Run("and so does what the host starts", func(t *testing.T) {
		n := n.inTest(t)
		n.serve(n.Outside, everywhere(80))
		for _, a := range []netip.Addr{lab.OutsideIPv4, lab.OutsideIPv6, lab.LANIPv4, lab.LANIPv6} {
			n.pings(n.Node, a, probe.Answered)
		}
		for _, a := range []netip.Addr{lab.OutsideIPv4, lab.OutsideIPv6} {
			n.connects(n.Node, netip.AddrPortFrom(a, 80), probe.Answered)
			// A closed port's RST is a reply to the host's own flow.
			n.connects(n.Node, netip.AddrPortFrom(a, 81), probe.Refused)
			n.exchanges(n.Node, netip.AddrPortFrom(a, 81), probe.Refused)
			url := "http://" + netip.AddrPortFrom(a, 80).String() + "/"
			if out, err := n.Node.Run(t.Context(), "curl", "-sS", "--max-time", "5", url); err != nil || out != "outside" {
				t.Errorf("curl %s: %q %v", url, out, err)
			}
		}
	})
}

// answersTo sends a frame and returns what came back from the node's MAC in
// the next moment, ARP, neighbour discovery and MLD reports apart.
func answersTo(t *testing.T, lan, node *probe.Wire, s strangeFrame) []gopacket.Packet {
	t.Helper()
	for _, stack := range s.frames {
		frame, err := probe.Frame(stack...)
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if s.spoil != nil {
			s.spoil(frame)
		}
		if err := lan.Send(frame); err != nil {
			t.Fatal(err)
		}
	}
	return lan.Quiet(answerTime, func(p gopacket.Packet) bool {
		eth, ok := p.LinkLayer().(*layers.Ethernet)
		return ok && eth.SrcMAC.String() == node.MAC.String() && !isLinkBusiness(p)
	})
}

// isLinkBusiness is what every node of a link says unasked or must answer.
func isLinkBusiness(p gopacket.Packet) bool {
	if p.Layer(layers.LayerTypeARP) != nil {
		return true
	}
	icmp, ok := p.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6)
	if !ok {
		return false
	}
	switch icmp.TypeCode.Type() {
	case layers.ICMPv6TypeNeighborSolicitation, layers.ICMPv6TypeNeighborAdvertisement,
		layers.ICMPv6TypeRouterSolicitation, layers.ICMPv6TypeMLDv1MulticastListenerReportMessage,
		layers.ICMPv6TypeMLDv2MulticastListenerReportMessageV2, layers.ICMPv6TypeMLDv1MulticastListenerDoneMessage:
		return true
	}
	return false
}

// TestFailsafe opens a port to one address range by the node's own document:
// it is checked first, and nobody else gets in.
func TestFailsafe(t *testing.T) {
	n := start(t, lab.Config{Friend: true, NodeDocument: fmt.Sprintf(`lockdown:
  allow:
    - {from: %s/32, ports: [tcp/22]}
    - {from: %s/128, ports: [tcp/22, udp/53]}
`, lab.FriendIPv4, lab.FriendIPv6)})
	n.serve(n.Node, everywhere(22))
	n.serve(n.Node, everywhere(80))
	n.echo(n.Node, everywhere(53))
	tries := []func(){
		func() { n.exchanges(n.Friend, netip.AddrPortFrom(lab.NodeIPv4, 53), probe.Silent) },
		func() { n.exchanges(n.Friend, netip.AddrPortFrom(lab.NodeIPv6, 53), probe.Answered) },
	}
	for _, a := range []netip.Addr{lab.NodeIPv4, lab.NodeIPv6} {
		tries = append(tries,
			func() { n.connects(n.Friend, netip.AddrPortFrom(a, 22), probe.Answered) },
			func() { n.connects(n.Friend, netip.AddrPortFrom(a, 80), probe.Silent) },
			func() { n.connects(n.Outside, netip.AddrPortFrom(a, 22), probe.Silent) })
	}
	together(tries...)
	if err := n.daemon.Kill(); err != nil {
		t.Fatal(err)
	}
	n.connects(n.Friend, netip.AddrPortFrom(lab.NodeIPv4, 22), probe.Answered)
	n.connects(n.Outside, netip.AddrPortFrom(lab.NodeIPv4, 22), probe.Silent)
}
