package registry

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/zosnet/zosnet/pkg/ipam"
)

var comparable = cmp.Options{cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{}), cmpopts.EquateEmpty()}

func TestPutNetwork(t *testing.T) {
	s := openStore(t, t.TempDir())
	first := put(t, s, "acme", "web", "db")
	want := NetworkRecord{
		Name: "acme", ID: 1, Prefix: netip.MustParsePrefix("2001:db8:0:1::/64"), File: "acme.yaml",
		Document: []byte("network: acme\n"), Services: map[string]uint32{"web": 1, "db": 2},
	}
	ignore := cmpopts.IgnoreFields(NetworkRecord{}, "Applied", "Revision")
	if diff := cmp.Diff(want, first, comparable, ignore); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	if first.Applied.IsZero() || first.Revision == 0 {
		t.Errorf("applied %v, revision %d", first.Applied, first.Revision)
	}

	same := put(t, s, "acme", "db", "web")
	if diff := cmp.Diff(first, same, comparable); diff != "" {
		t.Errorf("the same document again changed the record (-want +got):\n%s", diff)
	}

	second := put(t, s, "globex", "web")
	if second.ID != 2 || second.Prefix.String() != "2001:db8:0:2::/64" || second.Services["web"] != 3 {
		t.Errorf("second network: %+v", second)
	}

	changed := put(t, s, "acme", "web", "cache")
	if changed.ID != 1 || changed.Prefix != first.Prefix || changed.Services["web"] != 1 || changed.Revision <= second.Revision {
		t.Errorf("a changed document lost what it had: %+v", changed)
	}
	if changed.Services["cache"] != 4 {
		t.Errorf("new service: %v", changed.Services)
	}
	if back := put(t, s, "acme", "web", "db"); back.Services["db"] != 5 {
		t.Errorf("a service id was used again: %v", back.Services)
	}

	snap := snapshot(t, s)
	got, ok := snap.Network("acme")
	if !ok || len(snap.Networks) != 2 || got.Services["db"] != 5 || snap.IPAM.NextService != 6 {
		t.Errorf("snapshot %+v", snap)
	}
	if _, ok := snap.Network("nobody"); ok {
		t.Error("there is a network that nobody put")
	}
}

func TestPutNetworksIsAllOrNothing(t *testing.T) {
	s := openStore(t, t.TempDir())
	doc := func(name string, services ...string) NetworkDocument {
		return NetworkDocument{Name: name, File: name + ".yaml", Document: []byte(name), Services: services}
	}
	records, err := s.PutNetworks(t.Context(), "n1", nodePrefixes, []NetworkDocument{doc("c", "x"), doc("a", "y"), doc("b")})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"c", "a", "b"} {
		if records[i].Name != want || records[i].ID != uint32(i+1) || records[i].Revision != records[0].Revision {
			t.Errorf("record %d: %+v", i, records[i])
		}
	}
	attach(t, s, "a", "y", "y-1")
	before := snapshot(t, s)
	tests := []struct {
		name string
		docs []NetworkDocument
		want string
	}{
		{"a service in use would go", []NetworkDocument{doc("new", "z"), doc("a", "q")}, "y-1; detach them first"},
		{"a service named like a workload", []NetworkDocument{doc("new", "z"), doc("a", "y", "y-1")}, `the name "y-1" of a service`},
		{"one network twice", []NetworkDocument{doc("new"), doc("new")}, "apply one of them"},
		{"a bad network name", []NetworkDocument{doc("new"), doc("a/b")}, `network name "a/b"`},
		{"a bad service name", []NetworkDocument{doc("new", "A")}, `service name "A"`},
		{"no text", []NetworkDocument{doc("new"), {Name: "bin", Document: []byte{0xff}}}, "not UTF-8"},
		{"too large", []NetworkDocument{doc("new"), {Name: "big", Document: make([]byte, maxRequestBytes)}}, "apply fewer documents"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := s.PutNetworks(t.Context(), "n1", nodePrefixes, tt.docs)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want one with %q", err, tt.want)
			}
			after := snapshot(t, s)
			if diff := cmp.Diff(before, after, comparable); diff != "" {
				t.Errorf("something changed:\n%s", diff)
			}
		})
	}
}

func TestInUse(t *testing.T) {
	s := openStore(t, t.TempDir())
	put(t, s, "acme", "web", "db", "cache")
	attach(t, s, "acme", "web", "web-1")
	attach(t, s, "acme", "db", "db-1")
	attach(t, s, "acme", "db", "db-0")
	_, err := s.PutNetwork(t.Context(), "n1", nodePrefixes, "acme", "acme.yaml", []byte("x"), []string{"cache"})
	got := wantError[*InUseError](t, err)
	want := &InUseError{Network: "acme", Services: []string{"db", "web"}, Workloads: []string{"db-0", "db-1", "web-1"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
	got = wantError[*InUseError](t, s.DeleteNetwork(t.Context(), "acme", false))
	want.Services = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
	put(t, s, "acme", "web", "db") // nobody uses cache
}

func TestDeleteNetwork(t *testing.T) {
	s := openStore(t, t.TempDir())
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s.now = func() time.Time { return now }
	put(t, s, "acme", "web")
	put(t, s, "acme-b", "web") // its keys begin like acme's
	for _, network := range []string{"acme", "acme-b"} {
		attach(t, s, network, "web", "web-1")
		bind(t, s, network, "web-1", "2001:db8:0:1::77")
	}
	if err := s.DeleteNetwork(t.Context(), "acme", true); err != nil {
		t.Fatal(err)
	}
	snap := snapshot(t, s)
	if len(snap.Networks) != 1 || len(snap.Attachments) != 1 || len(snap.Bindings) != 1 || snap.Networks[0].Name != "acme-b" {
		t.Errorf("left: %+v", snap)
	}
	lease := snap.IPAM.Prefixes[netip.MustParsePrefix("2001:db8:0:1::/64")]
	want := ipam.Lease{Network: "acme", Node: "n1", Until: now.Add(ipam.Rest)}
	wantID := ipam.Lease{Network: "acme", Until: want.Until}
	if lease != want || snap.IPAM.IDs[1] != wantID {
		t.Errorf("released: %v and %v, want %v and %v", lease, snap.IPAM.IDs[1], want, wantID)
	}
	if e := wantError[*NotFoundError](t, s.DeleteNetwork(t.Context(), "acme", true)); e.Kind != "network" || e.Name != "acme" {
		t.Errorf("deleted twice: %+v", e)
	}
	now = now.Add(ipam.Rest - 1)
	if r := put(t, s, "early"); r.ID != 3 || r.Prefix.String() != "2001:db8:0:3::/64" {
		t.Errorf("what rests was given: %+v", r)
	}
	now = now.Add(1)
	if r := put(t, s, "late"); r.ID != 1 || r.Prefix.String() != "2001:db8:0:1::/64" {
		t.Errorf("what has rested was not given: %+v", r)
	}
}

func TestPrefixFull(t *testing.T) {
	s := openStore(t, t.TempDir())
	small := []netip.Prefix{netip.MustParsePrefix("2001:db8::/62")}
	for i := range 3 {
		if _, err := s.PutNetwork(t.Context(), "n1", small, fmt.Sprintf("t%d", i), "f", nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.PutNetwork(t.Context(), "n1", small, "late", "f", nil, nil)
	full := wantError[*ipam.ExhaustedError](t, err)
	if full.Capacity != 3 || len(full.Owners) != 3 || !strings.Contains(err.Error(), "t0, t1, t2") {
		t.Errorf("error %v", err)
	}
	if n := len(snapshot(t, s).Networks); n != 3 {
		t.Errorf("%d networks", n)
	}
	other := []netip.Prefix{netip.MustParsePrefix("2001:db8:ff::/56")}
	if r, err := s.PutNetwork(t.Context(), "n1", other, "t0", "f", []byte("new"), nil); err != nil || r.Prefix.String() != "2001:db8:0:1::/64" {
		t.Errorf("a changed node prefix moved a network: %v, %v", r, err)
	}
}

func TestConcurrentChanges(t *testing.T) {
	s := openStore(t, t.TempDir())
	const writers, each = 8, 6
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				name := fmt.Sprintf("w%d-%d", w, i)
				_, err := s.PutNetwork(t.Context(), "n1", nodePrefixes, name, "f", []byte(name), []string{"web"})
				if err == nil {
					_, err = s.PutAttachment(t.Context(), Attachment{Network: name, Service: "web", Name: "x", Kind: AttachmentNetns})
				}
				errs[w] = errors.Join(errs[w], err)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	checkConsistent(t, snapshot(t, s))
	if n := len(snapshot(t, s).Networks); n != writers*each {
		t.Errorf("%d networks", n)
	}
}

// TestStaleReadIsComputedAgain: a transaction that was computed from something
// that another writer has changed since does not go through.
func TestStaleReadIsComputedAgain(t *testing.T) {
	s := openStore(t, t.TempDir())
	put(t, s, "acme", "web")
	other := &Store{ // another writer, that does not wait for this one's turn
		dir: s.dir, now: s.now, client: s.client, failed: s.failed, closing: s.closing, writer: make(chan struct{}, 1),
	}
	attempts := 0
	_, err := s.change(t.Context(), func(c *change) error {
		attempts++
		if err := c.checkService(Attachment{Network: "acme", Service: "web", Name: "x"}); err != nil {
			return err
		}
		if attempts == 1 {
			put(t, other, "acme", "db")
		}
		return c.put(attachmentKey("acme", "x"), attachmentValue{Version: formatVersion, Service: "web"})
	})
	if e := wantError[*NotFoundError](t, err); e.Name != "web" || attempts != 2 {
		t.Errorf("%v after %d attempts", e, attempts)
	}
	attempts = 0
	_, err = s.change(t.Context(), func(c *change) error {
		attempts++
		if _, err := c.ipam(); err != nil {
			return err
		}
		put(t, other, fmt.Sprintf("n%d", attempts))
		return c.put(serviceCounterKey, counterValue{Version: formatVersion, Next: 1})
	})
	if err == nil || attempts != maxAttempts || !strings.Contains(err.Error(), "try again") {
		t.Errorf("error %v after %d attempts", err, attempts)
	}
}

// checkConsistent fails unless networks and allocations say the same.
func checkConsistent(t testing.TB, snap Snapshot) {
	t.Helper()
	services := map[uint32]string{}
	for _, n := range snap.Networks {
		if l := snap.IPAM.Prefixes[n.Prefix]; l.Network != n.Name || !l.Owned() {
			t.Errorf("network %s has %s, which is %+v", n.Name, n.Prefix, l)
		}
		if l := snap.IPAM.IDs[n.ID]; l.Network != n.Name || !l.Owned() {
			t.Errorf("network %s has id %d, which is %+v", n.Name, n.ID, l)
		}
		for service, id := range n.Services {
			if other, twice := services[id]; twice || id >= snap.IPAM.NextService {
				t.Errorf("service id %d: %s/%s, %s; next is %d", id, n.Name, service, other, snap.IPAM.NextService)
			}
			services[id] = n.Name + "/" + service
		}
	}
	for p, l := range snap.IPAM.Prefixes {
		if n, ok := snap.Network(l.Network); l.Owned() && (!ok || n.Prefix != p) {
			t.Errorf("%s belongs to %s, which has %s", p, l.Network, n.Prefix)
		}
	}
	for id, l := range snap.IPAM.IDs {
		if n, ok := snap.Network(l.Network); l.Owned() && (!ok || n.ID != id) {
			t.Errorf("id %d belongs to %s, which has %d", id, l.Network, n.ID)
		}
	}
	hosts := map[string]bool{}
	for _, a := range snap.Attachments {
		n, ok := snap.Network(a.Network)
		if _, known := n.Services[a.Service]; !ok || !known {
			t.Errorf("workload %+v is attached to nothing", a)
		}
		key := fmt.Sprintf("%s %d", a.Network, a.Host)
		if hosts[key] || a.Host < ipam.FirstHost {
			t.Errorf("host number of %+v", a)
		}
		hosts[key] = true
	}
}
