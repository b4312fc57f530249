package maps

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
)

var (
	globalA = netip.MustParseAddr("2001:db8::a")
	globalB = netip.MustParseAddr("2001:db8::b")
	local   = netip.MustParseAddr("fe80::a")
)

func TestEncodePrefix(t *testing.T) {
	for text, want := range map[string]string{
		"2001:db8:aaaa::/48":   "30000000" + "20010db8aaaa00000000000000000000",
		"2001:db8:aaaa:1::/64": "40000000" + "20010db8aaaa00010000000000000000",
	} {
		if got := bytesOf(t, encodePrefix(netip.MustParsePrefix(text))); got != want {
			t.Errorf("%s:\n got %s\nwant %s", text, got, want)
		}
	}
}

// A link-local address is somebody else in each network.
func TestBindingOf(t *testing.T) {
	if BindingOf(globalA, 3) != BindingOf(globalA, 4) || BindingOf(globalA, 3).Zone != 0 {
		t.Error("a global address has a zone")
	}
	if BindingOf(local, 3) == BindingOf(local, 4) || BindingOf(local, 3).Zone != 3 {
		t.Error("a link-local address has no zone")
	}
}

func TestBindingChanges(t *testing.T) {
	planned := Binding{Network: 3, Service: 1, Workload: 256, Ifindex: 7}
	moved := planned
	moved.Ifindex = 8
	learned := Binding{Network: 3, Service: 1, Workload: 257, Ifindex: 9, Learned: 1}
	elsewhere := Binding{Network: 4, Ifindex: 11}
	ports := map[uint32]Port{9: {Network: 3, Workload: 257}}
	type bindings = map[BindingKey]Binding
	a, b := BindingOf(globalA, 3), BindingOf(globalB, 3)
	for _, c := range []struct {
		name       string
		have, want bindings
		ports      map[uint32]Port
		puts       bindings
		deletes    []BindingKey
	}{
		{"nothing to do", bindings{a: planned}, bindings{a: planned}, nil, bindings{}, nil},
		{"a new one", nil, bindings{a: planned}, nil, bindings{a: planned}, nil},
		{"one that moved", bindings{a: planned}, bindings{a: moved}, nil, bindings{a: moved}, nil},
		{"one that went", bindings{a: planned}, nil, nil, bindings{}, []BindingKey{a}},
		{"another network's", bindings{a: elsewhere}, nil, nil, bindings{}, nil},
		{"learned since", bindings{b: learned}, nil, ports, bindings{}, nil},
		{"learned, but its port has gone", bindings{b: learned}, nil, nil, bindings{}, []BindingKey{b}},
		{"learned, but its port is another's", bindings{b: learned}, nil,
			map[uint32]Port{9: {Network: 3, Workload: 300}}, bindings{}, []BindingKey{b}},
		{"learned, but the plan gives it to another", bindings{b: learned}, bindings{b: planned}, ports, bindings{b: planned}, nil},
	} {
		puts, deletes := bindingChanges(3, c.have, c.want, c.ports)
		got := bindings{}
		for _, e := range puts {
			got[e.Key] = e.Value
		}
		if diff := cmp.Diff(c.puts, got); diff != "" {
			t.Errorf("%s: puts: %s", c.name, diff)
		}
		if diff := cmp.Diff(c.deletes, deletes); diff != "" {
			t.Errorf("%s: deletes: %s", c.name, diff)
		}
	}
}

func TestSetBindings(t *testing.T) {
	m := openMaps(t, bpffs(t))
	key := BindingOf(globalA, 3)
	want := map[BindingKey]Binding{key: {Network: 3, Workload: 256}}
	for i, wantChanged := range []bool{true, false} {
		if changed, err := m.SetBindings(3, want); err != nil || changed != wantChanged {
			t.Errorf("time %d: changed %v, %v", i+1, changed, err)
		}
	}
	all, err := m.AllBindings()
	must(t, err)
	if diff := cmp.Diff(want, all); diff != "" {
		t.Error(diff)
	}
	if _, err := m.SetBindings(4, want); err == nil {
		t.Error("network 3's binding was taken for network 4")
	}
	must(t, m.DeleteBinding(key))
	must(t, m.DeleteBinding(key)) // again
	assertEntries(t, m, map[string]int{"bindings": 0})
}

// What the datapath has counted survives that the daemon writes a port again, but
// not that the interface becomes another workload's.
func TestPutPortKeepsWhatWasLearned(t *testing.T) {
	m := openMaps(t, bpffs(t))
	ifindex := uint32(7)
	must(t, m.PutPort(ifindex, Port{Network: 3, Workload: 256, Learnable: 4}))
	must(t, m.Ports.Put(&ifindex, &Port{Network: 3, Workload: 256, Learnable: 4, Learned: 2}))
	must(t, m.PutPort(ifindex, Port{Network: 3, Workload: 256, Learnable: 8}))
	assertPort(t, m, Port{Network: 3, Workload: 256, Learnable: 8, Learned: 2})
	must(t, m.PutPort(ifindex, Port{Network: 3, Workload: 257, Learnable: 8}))
	assertPort(t, m, Port{Network: 3, Workload: 257, Learnable: 8})
	must(t, m.DeletePort(ifindex))
	must(t, m.DeletePort(ifindex)) // again
}

func assertPort(t *testing.T, m *Maps, want Port) {
	t.Helper()
	all, err := m.AllPorts()
	must(t, err)
	if all[7] != want || len(all) != 1 {
		t.Errorf("ports: %+v, wanted %+v", all, want)
	}
}

func TestPutPrefixesReplacesAll(t *testing.T) {
	m := openMaps(t, bpffs(t))
	block, first := netip.MustParsePrefix("2001:db8:aaaa::/48"), netip.MustParsePrefix("2001:db8:aaaa::/64")
	must(t, m.PutPrefixes(map[netip.Prefix]uint32{block: PrefixTenant, first: PrefixNode}))
	lookup := func(a string) (kind uint32) {
		key := encodePrefix(netip.PrefixFrom(netip.MustParseAddr(a), 128))
		if err := m.Prefixes.Lookup(&key, &kind); err != nil {
			return 0
		}
		return kind
	}
	if got := lookup("2001:db8:aaaa::1"); got != PrefixNode {
		t.Errorf("the node's own /64 is of kind %d", got)
	}
	must(t, m.PutPrefixes(map[netip.Prefix]uint32{block: PrefixTenant}))
	if got := lookup("2001:db8:aaaa::1"); got != PrefixTenant {
		t.Errorf("after the node's /64 went: kind %d", got)
	}
	must(t, m.PutPrefixes(nil))
	if got := lookup("2001:db8:aaaa::1"); got != 0 {
		t.Errorf("after all went: kind %d", got)
	}
}

// Nothing of a network is left, nothing of another is touched, and its id's next
// owner starts at a generation that no flow was judged under.
func TestDeleteNetwork(t *testing.T) {
	m := openMaps(t, bpffs(t))
	for _, id := range []uint32{3, 4} {
		must(t, m.PutNetwork(id, Network{Generation: 9, Policy: 5, FlowSets: 8}))
		must(t, m.PutPolicy(id, 5, program(80)))
		_, err := m.SetBindings(id, map[BindingKey]Binding{BindingOf(local, id): {Network: id}})
		must(t, err)
		key := flowKey(uint16(id))
		must(t, m.Flows.Put(&key, &Flow{Owner: id}))
		must(t, m.FlowSets.Put(&bpfFlowSetKey{Network: id}, &bpfFlowSet{}))
		putCounts(t, m, id)
	}
	must(t, m.DeleteNetwork(3))
	must(t, m.DeleteNetwork(3)) // again
	assertEntries(t, m, map[string]int{
		"policy_vectors": 7, "policy_cidrs": 2, "policy_ports": 2,
		"bindings": 1, "flows": 1, "flow_sets": 1, "drops": 1, "rule_counts": 1,
	})
	traffic, err := m.ReadTraffic()
	must(t, err)
	if len(traffic) != 1 || traffic[4].Egress.Packets == 0 {
		t.Errorf("traffic: %v", traffic)
	}
	gone, err := m.Network(3)
	must(t, err)
	if gone != (Network{Generation: 10}) {
		t.Errorf("network 3 is %+v", gone)
	}
	if _, err := m.Network(uint32(MaxNetworks)); err == nil {
		t.Error("network 4096 can be read")
	}
}

// putCounts counts one drop, one decision and one packet of a network on each CPU.
func putCounts(t *testing.T, m *Maps, network uint32) {
	t.Helper()
	cpus := ebpf.MustPossibleCPU()
	counters, counts, traffic := make([]Counter, cpus), make([]RuleCount, cpus), make([]Traffic, cpus)
	for i := range cpus {
		counters[i] = Counter{Packets: 1, Bytes: 100}
		counts[i] = RuleCount{Flows: 1}
		traffic[i] = Traffic{Egress: Counter{Packets: 1, Bytes: 60}, Ingress: Counter{Packets: 2, Bytes: 120}}
	}
	must(t, m.Drops.Put(&DropKey{Network: network, Reason: uint32(bpfDropReasonDROP_RA_GUARD)}, counters))
	must(t, m.RuleCounts.Put(&RuleKey{Network: network, Entry: 2}, counts))
	must(t, m.Traffic.Put(&network, traffic))
}

// Ten wide prefixes, each with the first /64 of its blocks, fit; more pieces than
// there is room for are refused before any is written.
func TestPutPrefixesHasRoom(t *testing.T) {
	m := openMaps(t, bpffs(t))
	pieces := func(count int) map[netip.Prefix]uint32 {
		list := map[netip.Prefix]uint32{}
		for i := range count {
			address := netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, byte(i >> 16), byte(i >> 8), byte(i)})
			list[netip.PrefixFrom(address, 56)] = PrefixNode
		}
		return list
	}
	must(t, m.PutPrefixes(pieces(10*257)))
	if err := m.PutPrefixes(pieces(MaxPrefixes + 1)); err == nil || !strings.Contains(err.Error(), "list fewer prefixes") {
		t.Errorf("too many: %v", err)
	}
	have, err := readAll[PrefixKey, uint32](m.Prefixes)
	must(t, err)
	if len(have) != 10*257 {
		t.Errorf("%d pieces are left of %d", len(have), 10*257)
	}
}
