package registry

import (
	"net/netip"
	"testing"
)

// TestDeleteBindings: what is named goes and nothing else; what is gone is no error
// and no change.
func TestDeleteBindings(t *testing.T) {
	s := openStore(t, t.TempDir())
	put(t, s, "acme", "vm")
	for _, vm := range []string{"vm-1", "vm-2"} {
		attach(t, s, "acme", "vm", vm)
	}
	bind(t, s, "acme", "vm-1", "2001:db8::a")
	bind(t, s, "acme", "vm-1", "2001:db8::b")
	bind(t, s, "acme", "vm-2", "2001:db8::c")
	gone := []Binding{
		{Network: "acme", Workload: "vm-1", Address: netip.MustParseAddr("2001:db8::a")},
		{Network: "acme", Workload: "vm-1", Address: netip.MustParseAddr("2001:db8::c")}, // vm-2 has it
		{Network: "other", Workload: "vm-1", Address: netip.MustParseAddr("2001:db8::b")},
	}
	for range 2 {
		if err := s.DeleteBindings(t.Context(), gone); err != nil {
			t.Fatal(err)
		}
		left := snapshot(t, s).Bindings
		if len(left) != 2 || left[0].Address != netip.MustParseAddr("2001:db8::b") || left[1].Workload != "vm-2" {
			t.Errorf("left: %v", left)
		}
	}
	revision := snapshot(t, s).Revision
	if err := s.DeleteBindings(t.Context(), gone); err != nil || snapshot(t, s).Revision != revision {
		t.Errorf("nothing to delete: %v, revision %d, was %d", err, snapshot(t, s).Revision, revision)
	}
	bind(t, s, "acme", "vm-2", "2001:db8::a")
}
