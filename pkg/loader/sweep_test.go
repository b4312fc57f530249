package loader

import (
	"testing"
	"time"

	"github.com/zosnet/zosnet/pkg/maps"
)

func TestSweepTakesExpiredFlowsOnly(t *testing.T) {
	enter(t)
	d := openDatapath(t, Options{BPFFS: bpffs(t)})
	put := func(port uint16, idle time.Duration, denied uint8) maps.FlowKey {
		key := maps.FlowKey{LowPort: port, HighPort: 53, Proto: 17}
		f := maps.Flow{LastSeen: maps.MonotonicTime() - uint64(idle), Denied: denied}
		must(t, d.Maps().Flows.Put(&key, &f))
		return key
	}
	fresh, old := put(1, time.Second, 0), put(2, 90*time.Second, 0)
	deniedFresh, deniedOld := put(3, 90*time.Second, 1), put(4, 700*time.Second, 1)
	n, err := d.SweepFlows()
	must(t, err)
	if n != 2 {
		t.Errorf("%d flows swept, expected 2", n)
	}
	var f maps.Flow
	for key, want := range map[maps.FlowKey]bool{fresh: true, old: false, deniedFresh: true, deniedOld: false} {
		if got := d.Maps().Flows.Lookup(&key, &f) == nil; got != want {
			t.Errorf("flow of port %d is there: %v, expected %v", key.LowPort, got, want)
		}
	}
}
