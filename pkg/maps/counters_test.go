package maps

import (
	"testing"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
)

// Counts are the sum over all CPUs; what never happened is left out.
func TestReadCounters(t *testing.T) {
	m := openMaps(t, bpffs(t))
	putCounts(t, m, 3)
	n := uint64(ebpf.MustPossibleCPU())
	reason := bpfDropReasonDROP_LOCKDOWN
	must(t, m.LockdownDrops.Put(&reason, []Counter{{Packets: 7, Bytes: 700}}))

	drops, err := m.ReadDrops()
	must(t, err)
	want := map[DropKey]Counter{{Network: 3, Reason: uint32(bpfDropReasonDROP_RA_GUARD)}: {Packets: n, Bytes: 100 * n}}
	if diff := cmp.Diff(want, drops); diff != "" {
		t.Error("drops:", diff)
	}
	lockdown, err := m.ReadLockdownDrops()
	must(t, err)
	if diff := cmp.Diff(map[DropReason]Counter{reason: {Packets: 7, Bytes: 700}}, lockdown); diff != "" {
		t.Error("lockdown drops:", diff)
	}
	traffic, err := m.ReadTraffic()
	must(t, err)
	if diff := cmp.Diff(map[uint32]Traffic{3: {
		Egress: Counter{Packets: n, Bytes: 60 * n}, Ingress: Counter{Packets: 2 * n, Bytes: 120 * n},
	}}, traffic); diff != "" {
		t.Error("traffic:", diff)
	}
	rules, err := m.ReadRuleCounts()
	must(t, err)
	if diff := cmp.Diff(map[RuleKey]RuleCount{{Network: 3, Entry: 2}: {Flows: n}}, rules); diff != "" {
		t.Error("rule counts:", diff)
	}
	must(t, m.DeleteRuleCounts(3))
	if rules, err = m.ReadRuleCounts(); err != nil || len(rules) != 0 {
		t.Errorf("rule counts after deleting: %v %v", rules, err)
	}
}

// Fill counts the entries of hashes of each kind, and of tries; arrays are always
// full and left out.
func TestReadFill(t *testing.T) {
	m := openMaps(t, bpffs(t))
	for i := range uint16(3) {
		key := flowKey(i)
		must(t, m.Flows.Put(&key, &Flow{}))
	}
	must(t, m.HostFlows.Put(&HostFlowKey{Proto: 6}, &HostFlow{}))
	putCounts(t, m, 3)
	must(t, m.PutPolicy(3, 1, program(80)))
	assertEntries(t, m, map[string]int{
		"flows": 3, "host_flows": 1, "drops": 1, "rule_counts": 1, "prefixes": 0,
		"policy_vectors": 7, "policy_cidrs": 2, "policy_ports": 2,
	})
	fill, err := m.ReadFill()
	must(t, err)
	if fill["flows"].Max != MaxFlows {
		t.Errorf("flows has room for %d, wanted %d", fill["flows"].Max, MaxFlows)
	}
	for _, name := range []string{"networks", "node", "traffic", "events"} {
		if _, ok := fill[name]; ok {
			t.Errorf("map %s does not fill, but has a fill", name)
		}
	}
}

func BenchmarkReadFill(b *testing.B) {
	m := openMaps(b, bpffs(b))
	flows := make([]entry[FlowKey, Flow], 0, 1<<16)
	for i := range uint16(1<<16 - 1) {
		flows = append(flows, entry[FlowKey, Flow]{Key: flowKey(i)})
	}
	must(b, putAll(m.Flows, flows))
	for b.Loop() {
		if _, err := m.ReadFill(); err != nil {
			b.Fatal(err)
		}
	}
}
