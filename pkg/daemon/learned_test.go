package daemon

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zosnet/zosnet/pkg/maps"
	"github.com/zosnet/zosnet/pkg/registry"
)

func TestUnknownAddresses(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	global, privacy, local := netip.MustParseAddr("2001:db8:1::1:2"), netip.MustParseAddr("2001:db8:1::3:4"), netip.MustParseAddr("fe80::1:2")
	mac := maps.MAC{Bytes: [6]byte{2, 0, 0, 0, 0, 1}}
	snap := registry.Snapshot{
		Networks: []registry.NetworkRecord{{Name: "acme", ID: 7}, {Name: "beta", ID: 8}},
		Attachments: []registry.Attachment{
			{Network: "acme", Name: "vm-1", Kind: registry.AttachmentTap, TapName: "tap0", Host: 256},
			{Network: "acme", Name: "web-1", Kind: registry.AttachmentNetns, Host: 257},
		},
		Bindings: []registry.Binding{{Network: "acme", Workload: "vm-1", Address: privacy}},
	}
	learned := func(network, workload uint32) maps.Binding {
		return maps.Binding{Network: network, Workload: workload, Learned: 1, Mac: mac}
	}
	bound := map[maps.BindingKey]maps.Binding{
		maps.BindingOf(global, 7):                                 learned(7, 256),
		maps.BindingOf(local, 7):                                  learned(7, 256),
		maps.BindingOf(privacy, 7):                                learned(7, 256),                       // stored already
		maps.BindingOf(netip.MustParseAddr("2001:db8:1::101"), 7): {Network: 7, Workload: 257, Mac: mac}, // from the plan
		maps.BindingOf(netip.MustParseAddr("2001:db8:1::5"), 7):   learned(7, 300),                       // detached meanwhile
		maps.BindingOf(netip.MustParseAddr("2001:db8:2::5"), 8):   learned(8, 256),                       // another network's
		maps.BindingOf(netip.MustParseAddr("2001:db8:3::5"), 9):   learned(9, 256),                       // deleted meanwhile
	}
	want := []registry.Binding{
		{Network: "acme", Workload: "vm-1", Address: global, MAC: "02:00:00:00:00:01", Learned: now},
		{Network: "acme", Workload: "vm-1", Address: local, MAC: "02:00:00:00:00:01", Learned: now},
	}
	if diff := cmp.Diff(want, unknown(snap, bound, now), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}
