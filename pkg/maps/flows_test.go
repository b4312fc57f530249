package maps

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A flow is shown from the side of whoever started it.
func TestRecordOf(t *testing.T) {
	key := flowKey(40000) // the low end is 2001:db8::1, port 40000
	low, high := netip.MustParseAddrPort("[2001:db8::1]:40000"), netip.MustParseAddrPort("[2001:db8::2]:443")
	sent, answered := Counter{Packets: 1, Bytes: 10}, Counter{Packets: 2, Bytes: 20}
	f := Flow{
		LastSeen: 5, Owner: 3, State: uint8(bpfFlowStateFLOW_ESTABLISHED), StartedLow: 1,
		Low: FlowEnd{Packets: 1, Bytes: 10}, High: FlowEnd{Packets: 2, Bytes: 20},
	}
	want := FlowRecord{
		Proto: 6, Source: low, Destination: high, State: "established", Owner: 3,
		Sent: sent, Received: answered, LastSeen: 5,
	}
	compare := func(name string) {
		t.Helper()
		if diff := cmp.Diff(want, RecordOf(key, f), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	compare("started by the low end")
	f.StartedLow, f.Denied, f.State = 0, 1, uint8(bpfFlowStateFLOW_OPENING)
	want.Source, want.Destination, want.Sent, want.Received = high, low, answered, sent
	want.Denied, want.State = true, "opening"
	compare("started by the high end, and denied")
}

func TestEachFlow(t *testing.T) {
	m := openMaps(t, bpffs(t))
	const n = 3*batch/2 + 1
	flows := make([]entry[FlowKey, Flow], 0, n)
	for i := range uint16(n) {
		flows = append(flows, entry[FlowKey, Flow]{Key: flowKey(i)})
	}
	must(t, putAll(m.Flows, flows))
	seen := map[uint16]bool{}
	for r, err := range m.EachFlow() {
		must(t, err)
		seen[r.Destination.Port()] = true
	}
	if len(seen) != n {
		t.Errorf("saw %d flows of %d", len(seen), n)
	}
	for _, err := range m.EachFlow() {
		must(t, err)
		break // leaves early
	}
}
