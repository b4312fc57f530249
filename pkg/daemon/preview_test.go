package daemon

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/spec"
)

var testNode = &spec.Node{Name: "n1", Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8:aaaa::/56")}}

func parsed(t *testing.T, text string) document {
	t.Helper()
	network, _, err := spec.DecodeNetwork("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return document{"test.yaml", []byte(text), network, nil}
}

func write(t *testing.T, store *registry.Store, documents ...document) {
	t.Helper()
	d := &Daemon{store: store}
	if _, err := d.write(t.Context(), testNode, documents); err != nil {
		t.Fatal(err)
	}
}

func testStore(t *testing.T) *registry.Store {
	t.Helper()
	store, err := registry.Open(context.Background(), t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

// What is checked before anything is stored is what will be stored.
func TestPreviewIsWhatTheRegistryDoes(t *testing.T) {
	acme := parsed(t, "network: acme\nnodes: [n1]\nservices: {web: {}, db: {}}\naccess: {alice: {publicKey: \""+aliceKey+"\"}}\n")
	beta := parsed(t, "network: beta\nnodes: [n1]\nservices: {app: {}}\n")
	changed := parsed(t, "network: acme\nnodes: [n1]\nservices: {db: {}, cache: {}}\n")
	aaaa := parsed(t, "network: aaaa\nnodes: [n1]\nservices: {one: {}}\n")
	store := testStore(t)
	for _, step := range [][]document{{acme, beta}, {changed, aaaa}, {beta}} {
		before, err := store.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		preview, err := withDocuments(before, testNode, step, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		write(t, store, step...)
		after, err := store.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		times := cmpopts.IgnoreFields(registry.NetworkRecord{}, "Applied", "Revision")
		if diff := cmp.Diff(after.Networks, preview.Networks, times, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
			t.Errorf("stored (-) and foreseen (+):\n%s", diff)
		}
	}
}

func TestAttachmentPreview(t *testing.T) {
	store := testStore(t)
	write(t, store, parsed(t, "network: acme\nnodes: [n1]\nservices: {web: {}}\n"))
	for _, name := range []string{"web-1", "web-2"} {
		a := registry.Attachment{Network: "acme", Service: "web", Name: name, Kind: registry.AttachmentNetns}
		before, err := store.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		preview, err := withAttachment(before, a)
		if err != nil {
			t.Fatal(err)
		}
		stored, err := store.PutAttachment(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		if foreseen := preview.Attachments[len(preview.Attachments)-1]; foreseen.Host != stored.Host {
			t.Errorf("%s: host %d, foreseen %d", name, stored.Host, foreseen.Host)
		}
	}
}

func TestOrphans(t *testing.T) {
	snap := registry.Snapshot{
		Attachments: []registry.Attachment{
			{Network: "acme", Service: "db", Name: "db-1"}, {Network: "acme", Service: "web", Name: "web-1"},
			{Network: "beta", Service: "web", Name: "web-1"},
		},
		Bindings: []registry.Binding{{Network: "acme", Workload: "db-1"}, {Network: "beta", Workload: "web-1"}},
	}
	for _, tt := range []struct {
		name, document string
		orphans        []string
		want           string
	}{
		{"everything is kept", "network: acme\nnodes: [n1]\nservices: {web: {}, db: {}}\n", nil, ""},
		{
			"a service goes", "network: acme\nnodes: [n1]\nservices: {web: {}}\n", []string{"db-1"},
			"apply network acme without service db: still attached to it: db-1; detach them first, or use --force",
		},
		{
			"the node goes", "network: acme\nnodes: [n2]\nservices: {web: {}, db: {}}\n", []string{"db-1", "web-1"},
			"apply network acme without node n1: still attached to it: db-1, web-1; detach them first, or use --force",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			documents := []document{parsed(t, tt.document)}
			var names []string
			gone := orphans(snap, "n1", documents)
			for _, a := range gone {
				names = append(names, a.Name)
			}
			if !slices.Equal(names, tt.orphans) {
				t.Errorf("orphans %v, want %v", names, tt.orphans)
			}
			text := ""
			if err := orphanError(snap, "n1", documents); err != nil {
				text = err.Error()
			}
			if text != tt.want {
				t.Errorf("got %q\nwant %q", text, tt.want)
			}
			left := without(snap, gone)
			if len(left.Attachments) != 3-len(gone) || len(left.Bindings) != 2-min(1, len(gone)) {
				t.Errorf("left %v, %v", left.Attachments, left.Bindings)
			}
		})
	}
}

func TestServiceNamedLikeAWorkload(t *testing.T) {
	snap := registry.Snapshot{Attachments: []registry.Attachment{{Network: "acme", Service: "web", Name: "db"}}}
	_, err := withDocuments(snap, testNode, []document{parsed(t, "network: acme\nnodes: [n1]\nservices: {web: {}, db: {}}\n")}, time.Now())
	if err == nil || !strings.Contains(err.Error(), `the name "db" of a service is already used by a workload of web`) {
		t.Errorf("got %v", err)
	}
}
