package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/zosnet/zosnet/pkg/maps"
	"github.com/zosnet/zosnet/pkg/policy"
	"github.com/zosnet/zosnet/pkg/spec"
)

// size is how much a node carries besides the two networks that are measured.
type size struct {
	networks  int // those two among them
	rules     int // in each
	workloads int // on the node
}

func (s size) String() string {
	return fmt.Sprintf("rules=%d,networks=%d,workloads=%d", s.networks*s.rules, s.networks, s.workloads)
}

// flowSets is the room that a network has for flows of one share, in sets of four:
// the most that a plan gives.
const flowSets = 8192

// port is what the measured flows call. Only the last rule of a network lets it.
const port = 5000

// document gives a network of so many rules, of which the last alone matches a flow
// from web to db. A fifth of the others matches it in source and destination, a
// fifth each in one of those and port: no step of the search can leave them out.
func document(name string, rules int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "network: %s\nnodes: [n1]\ndefault: {inside: deny, inbound: deny, outbound: deny}\n", name)
	b.WriteString("services: {web: {}, db: {}}\nrules:\n")
	for i := range rules - 1 {
		cidr := fmt.Sprintf("2001:db8:%x:%x::/64", 0x1000+i/256, i%256)
		first := 10000 + 7*(i%7000)
		switch i % 5 {
		case 0:
			fmt.Fprintf(&b, "- deny: {from: web, to: db, ports: [udp/%d-%d, tcp/%d-%d]}\n", first, first+5, first, first+5)
		case 1:
			fmt.Fprintf(&b, "- deny: {from: %s, to: db, ports: [udp/%d, tcp/%d]}\n", cidr, port, port)
		case 2:
			fmt.Fprintf(&b, "- deny: {from: web, to: %q, ports: [udp/%d, tcp/%d]}\n", cidr, port, port)
		case 3:
			fmt.Fprintf(&b, "- allow: {from: db, to: web, ports: [udp/any, tcp/any]}\n")
		case 4:
			fmt.Fprintf(&b, "- deny: {from: %s, to: web, ports: [udp/%d-%d]}\n", cidr, first, first+900)
		}
	}
	fmt.Fprintf(&b, "- allow: {from: any, to: any, ports: [udp/%d-%d, tcp/%d, icmpv6/any]}\n", port, port+1, port)
	return b.String()
}

// prefixOf gives a network's /64.
func prefixOf(network uint32) netip.Prefix {
	a := allocation.Addr().As16()
	binary.BigEndian.PutUint16(a[6:], uint16(network))
	return netip.PrefixFrom(netip.AddrFrom16(a), 64)
}

func hostIn(network uint32, host uint64) netip.Addr {
	a := prefixOf(network).Addr().As16()
	binary.BigEndian.PutUint64(a[8:], host)
	return netip.AddrFrom16(a)
}

// The measured workloads: a client and a server in one network, and one in another.
const (
	ownNetwork   = 1
	otherNetwork = 2
	clientHost   = 0x10
	serverHost   = 0x11
	otherHost    = 0x10
)

var gatewayMAC = net.HardwareAddr{2, 0, 0, 0, 0, 0xfe}

// fill gives the node its networks, their rules and workloads.
func (n *node) fill(b *testing.B, s size) {
	b.Helper()
	doc, _, err := spec.DecodeNetwork("bench.yaml", []byte(document("bench", s.rules)))
	check(b, err)
	for i := range s.networks {
		n.addNetwork(b, uint32(i+1), doc)
	}
	n.addWorkloads(b, ownNetwork, map[uint64]workload{clientHost: {n.client, web}, serverHost: {n.server, db}})
	if s.networks >= otherNetwork {
		n.addWorkloads(b, otherNetwork, map[uint64]workload{otherHost: {n.other, db}})
	}
	n.addCrowd(b, uint32(s.networks), s.workloads-3)
}

type service uint32

// Services are numbered over all networks.
const (
	web service = iota
	db
)

func (s service) id(network uint32) uint32 { return 2*network + uint32(s) }

type workload struct {
	link    link
	service service
}

func (n *node) addNetwork(b *testing.B, id uint32, doc *spec.Network) {
	b.Helper()
	program, err := policy.Compile(doc, policy.IDs{
		Network: id, Services: map[string]uint32{"web": web.id(id), "db": db.id(id)},
	})
	check(b, err)
	check(b, n.maps.PutPolicy(id, 1, program))
	entry := maps.Network{
		Gateway: maps.AddressOf(hostIn(id, 1)), GatewayMac: maps.MACOf(gatewayMAC),
		Generation: 1, Policy: 1, Bridge: n.bridge.index, FlowSets: flowSets, Mtu: 1500,
	}
	if program.HasCIDRs() {
		entry.Flags |= maps.NetworkHasCIDRs
	}
	check(b, n.maps.PutNetwork(id, entry))
}

func (n *node) addWorkloads(b *testing.B, network uint32, byHost map[uint64]workload) {
	b.Helper()
	bindings := map[maps.BindingKey]maps.Binding{}
	for host, w := range byHost {
		bindings[maps.BindingOf(hostIn(network, host), network)] = maps.Binding{
			Network: network, Service: w.service.id(network), Workload: uint32(host),
			Ifindex: w.link.index, Kind: maps.PortVeth, Mac: maps.MACOf(w.link.mac),
		}
		check(b, n.maps.PutPort(w.link.index, maps.Port{
			Network: network, Service: w.service.id(network), Workload: uint32(host),
			Kind: maps.PortVeth, Mac: maps.MACOf(w.link.mac),
		}))
	}
	_, err := n.maps.SetBindings(network, bindings)
	check(b, err)
}

// addCrowd gives a network workloads that nobody talks to.
func (n *node) addCrowd(b *testing.B, network uint32, count int) {
	b.Helper()
	if network <= otherNetwork || count <= 0 {
		return
	}
	crowd := map[uint64]workload{}
	for i := range count {
		mac := net.HardwareAddr{2, 0, 1, 0, byte(i >> 8), byte(i)}
		crowd[uint64(i+0x1000)] = workload{link{uint32(i + 1e6), mac}, web}
	}
	n.addWorkloads(b, network, crowd)
}

// clearFlows makes every flow a new one, with room for it.
func (n *node) clearFlows(b *testing.B) {
	b.Helper()
	const batch = 4 * subjectRuns
	keys, values := make([]maps.FlowKey, batch), make([]maps.Flow, batch)
	var cursor ebpf.MapBatchCursor
	for {
		_, err := n.maps.Flows.BatchLookupAndDelete(&cursor, keys, values, nil)
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return
		}
		check(b, err)
	}
}
