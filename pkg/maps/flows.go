package maps

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"

	"github.com/cilium/ebpf"
)

// FlowRecord is one flow as a person reads it, from whoever started it.
type FlowRecord struct {
	Proto       uint8
	Source      netip.AddrPort // started it; an ICMP query has its identifier as port in both
	Destination netip.AddrPort
	State       string // opening, answered, established, closing, closed
	Denied      bool   // judged again and refused
	Owner       uint32 // network whose room it uses
	Sent        Counter
	Received    Counter
	LastSeen    uint64 // ns, coarse monotonic
}

var flowStates = map[bpfFlowState]string{
	bpfFlowStateFLOW_OPENING:     "opening",
	bpfFlowStateFLOW_ANSWERED:    "answered",
	bpfFlowStateFLOW_ESTABLISHED: "established",
	bpfFlowStateFLOW_CLOSING:     "closing",
	bpfFlowStateFLOW_CLOSED:      "closed",
}

// RecordOf gives a flow of the map from its starter's side.
func RecordOf(key FlowKey, f Flow) FlowRecord {
	low := netip.AddrPortFrom(key.Low.Addr(), networkOrder16(key.LowPort))
	high := netip.AddrPortFrom(key.High.Addr(), networkOrder16(key.HighPort))
	r := FlowRecord{
		Proto: uint8(key.Proto), Source: high, Destination: low,
		State: flowStates[bpfFlowState(f.State)], Denied: f.Denied != 0, Owner: f.Owner,
		Sent:     Counter{Packets: f.High.Packets, Bytes: f.High.Bytes},
		Received: Counter{Packets: f.Low.Packets, Bytes: f.Low.Bytes},
		LastSeen: f.LastSeen,
	}
	if f.StartedLow != 0 {
		r.Source, r.Destination = low, high
		r.Sent, r.Received = r.Received, r.Sent
	}
	return r
}

// EachFlow goes over the flows; ones that come or go meanwhile may be missed. An
// error ends it and comes with a zero record.
func (m *Maps) EachFlow() iter.Seq2[FlowRecord, error] {
	return func(yield func(FlowRecord, error) bool) {
		keys, flows := make([]FlowKey, batch), make([]Flow, batch)
		var cursor ebpf.MapBatchCursor
		for {
			n, err := m.Flows.BatchLookup(&cursor, keys, flows, nil)
			if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
				yield(FlowRecord{}, fmt.Errorf("read flows: %w", err))
				return
			}
			for i := range n {
				if !yield(RecordOf(keys[i], flows[i]), nil) {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}
}
