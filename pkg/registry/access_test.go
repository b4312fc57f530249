package registry

import (
	"errors"
	"net/netip"
	"testing"
)

// An access device has an id of its own among the services', and keeps it; nobody can
// attach under its name, or as it.
func TestAccessDevices(t *testing.T) {
	s := openStore(t, t.TempDir())
	prefixes := []netip.Prefix{netip.MustParsePrefix("2001:db8::/48")}
	store := func(access ...string) (NetworkRecord, error) {
		records, err := s.PutNetworks(t.Context(), "n1", prefixes, []NetworkDocument{
			{Name: "acme", File: "acme.yaml", Document: []byte("network: acme\n"), Services: []string{"web"}, Access: access},
		})
		if err != nil {
			return NetworkRecord{}, err
		}
		return records[0], nil
	}
	first, err := store("alice")
	if err != nil || first.Access["alice"] == 0 || first.Access["alice"] == first.Services["web"] {
		t.Fatalf("record %+v, %v: want an id of its own", first, err)
	}
	second, err := store("alice", "bob")
	if err != nil || second.Access["alice"] != first.Access["alice"] || second.Access["bob"] == 0 {
		t.Errorf("record %+v, %v: alice had %d", second, err, first.Access["alice"])
	}
	stored, _ := snapshot(t, s).Network("acme")
	if stored.Access["bob"] != second.Access["bob"] || len(stored.Access) != 2 {
		t.Errorf("stored are %v", stored.Access)
	}
	if third, err := store(); err != nil || len(third.Access) != 0 {
		t.Errorf("record %+v, %v: want nobody", third, err)
	}
	if back, err := store("bob"); err != nil || back.Access["bob"] <= second.Access["bob"] {
		t.Errorf("record %+v, %v: an id was used again", back, err)
	}

	var exists *ExistsError
	var missing *NotFoundError
	if _, err := s.PutAttachment(t.Context(), Attachment{Network: "acme", Service: "web", Name: "bob", Kind: AttachmentNetns}); !errors.As(err, &exists) {
		t.Errorf("a workload took a device's name: %v", err)
	}
	if _, err := s.PutAttachment(t.Context(), Attachment{Network: "acme", Service: "bob", Name: "bob-1", Kind: AttachmentNetns}); !errors.As(err, &missing) {
		t.Errorf("a workload plays a device: %v", err)
	}
	if _, err := s.PutAttachment(t.Context(), Attachment{Network: "acme", Service: "web", Name: "carol", Kind: AttachmentNetns}); err != nil {
		t.Fatal(err)
	}
	if _, err := store("carol"); !errors.As(err, &exists) {
		t.Errorf("a device took a workload's name: %v", err)
	}
}
