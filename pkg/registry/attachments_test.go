package registry

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/zosnet/zosnet/pkg/spec"
)

var learnedAt = time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)

func bind(t testing.TB, s *Store, network, workload, address string) {
	t.Helper()
	b := Binding{Network: network, Workload: workload, Address: netip.MustParseAddr(address), MAC: "02:00:00:00:00:01", Learned: learnedAt}
	if err := s.PutBindings(t.Context(), []Binding{b}); err != nil {
		t.Fatalf("bind %s: %v", address, err)
	}
}

func TestPutAttachment(t *testing.T) {
	s := openStore(t, t.TempDir())
	put(t, s, "acme", "web", "db")
	put(t, s, "globex", "web")
	steps := []struct {
		what string
		a    Attachment
		host uint32
		err  string
	}{
		{"the first", Attachment{Network: "acme", Service: "web", Name: "web-1", Kind: AttachmentNetns}, 0x100, ""},
		{"the next", Attachment{Network: "acme", Service: "web", Name: "web-2", Kind: AttachmentPath, NetnsPath: "/run/netns/x"}, 0x101, ""},
		{"another service counts on", Attachment{Network: "acme", Service: "db", Name: "db-1", Kind: AttachmentTap, TapName: "tap0"}, 0x102, ""},
		{"another network begins anew", Attachment{Network: "globex", Service: "web", Name: "web-1", Kind: AttachmentNetns}, 0x100, ""},
		{"the same again", Attachment{Network: "acme", Service: "web", Name: "web-2", Kind: AttachmentPath, NetnsPath: "/run/netns/x", Host: 7}, 0x101, ""},
		{"no such network", Attachment{Network: "nobody", Service: "web", Name: "w", Kind: AttachmentNetns}, 0, `there is no network "nobody"`},
		{"no such service", Attachment{Network: "globex", Service: "db", Name: "w", Kind: AttachmentNetns}, 0, `network "globex" has no service "db"`},
		{"another path", Attachment{Network: "acme", Service: "web", Name: "web-2", Kind: AttachmentPath, NetnsPath: "/run/netns/y"}, 0, `already used by a workload of service "web" in /run/netns/x`},
		{"another service", Attachment{Network: "acme", Service: "db", Name: "web-1", Kind: AttachmentNetns}, 0, "in a namespace of its own"},
		{"another kind", Attachment{Network: "acme", Service: "db", Name: "db-1", Kind: AttachmentNetns}, 0, "on tap tap0"},
		{"a service's name", Attachment{Network: "acme", Service: "web", Name: "db", Kind: AttachmentNetns}, 0, "already used by a service"},
		{"a bad name", Attachment{Network: "acme", Service: "web", Name: "a/b", Kind: AttachmentNetns}, 0, `workload name "a/b"`},
		{"a bad kind", Attachment{Network: "acme", Service: "web", Name: "w", Kind: "bridge"}, 0, `attachment kind "bridge"`},
		{"no path", Attachment{Network: "acme", Service: "web", Name: "w", Kind: AttachmentPath}, 0, "netns path goes with"},
		{"a tap with no tap", Attachment{Network: "acme", Service: "web", Name: "w", Kind: AttachmentNetns, TapName: "t"}, 0, "tap name goes with"},
	}
	for _, step := range steps {
		got, err := s.PutAttachment(t.Context(), step.a)
		if step.err != "" {
			if err == nil || !strings.Contains(err.Error(), step.err) {
				t.Errorf("%s: error %v, want one with %q", step.what, err, step.err)
			}
			continue
		}
		want := step.a
		want.Host = step.host
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Attachment{}, "Created")); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", step.what, err, diff)
		}
		if got.Created.IsZero() {
			t.Errorf("%s: not created", step.what)
		}
	}
	var got []string
	for _, a := range snapshot(t, s).Attachments {
		got = append(got, a.Network+"."+a.Name)
	}
	if diff := cmp.Diff([]string{"acme.db-1", "acme.web-1", "acme.web-2", "globex.web-1"}, got); diff != "" {
		t.Errorf("attachments (-want +got):\n%s", diff)
	}

	if err := s.DeleteAttachment(t.Context(), "acme", "web-2"); err != nil {
		t.Fatal(err)
	}
	if a := attach(t, s, "acme", "db", "db-2"); a.Host != 0x101 {
		t.Errorf("host number %#x, want the one that is free", a.Host)
	}
	if e := wantError[*NotFoundError](t, s.DeleteAttachment(t.Context(), "acme", "web-2")); e.Kind != "workload" {
		t.Errorf("detached twice: %+v", e)
	}
}

func TestSnapshotOrder(t *testing.T) {
	s := openStore(t, t.TempDir())
	for _, network := range []string{"a-b", "a", "ab"} {
		put(t, s, network, "web")
		attach(t, s, network, "web", "x")
		bind(t, s, network, "x", "2001:db8::10")
		bind(t, s, network, "x", "2001:db8::2")
	}
	snap := snapshot(t, s)
	var got []string
	for _, n := range snap.Networks {
		got = append(got, n.Name)
	}
	for _, a := range snap.Attachments {
		got = append(got, a.Network+"."+a.Name)
	}
	for _, b := range snap.Bindings {
		got = append(got, b.Network+" "+b.Address.String())
	}
	want := []string{
		"a", "a-b", "ab", "a.x", "a-b.x", "ab.x",
		"a 2001:db8::2", "a 2001:db8::10", "a-b 2001:db8::2", "a-b 2001:db8::10", "ab 2001:db8::2", "ab 2001:db8::10",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestBindings(t *testing.T) {
	s := openStore(t, t.TempDir())
	put(t, s, "acme", "vm")
	attach(t, s, "acme", "vm", "vm-1")
	attach(t, s, "acme", "vm", "vm-2")
	b := func(workload, address, mac string) Binding {
		return Binding{Network: "acme", Workload: workload, Address: netip.MustParseAddr(address), MAC: mac, Learned: learnedAt}
	}
	first := []Binding{b("vm-1", "2001:db8::a", "02::1"), b("vm-2", "2001:db8::b", "02::2"), b("vm-1", "2001:db8::a", "02::1")}
	if err := s.PutBindings(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first[:2], snapshot(t, s).Bindings, comparable); diff != "" {
		t.Errorf("bindings (-want +got):\n%s", diff)
	}
	revision := snapshot(t, s).Revision
	if err := s.PutBindings(t.Context(), first); err != nil || snapshot(t, s).Revision != revision {
		t.Errorf("the same again: %v, revision %d, was %d", err, snapshot(t, s).Revision, revision)
	}
	for _, tt := range []struct {
		name string
		list []Binding
		want string
	}{
		{"nobody's", []Binding{b("vm-1", "2001:db8::c", ""), b("vm-9", "2001:db8::d", "")}, `no workload "vm-9"`},
		{"another's", []Binding{b("vm-1", "2001:db8::c", ""), b("vm-1", "2001:db8::b", "")}, `the address 2001:db8::b is already used by workload "vm-2"`},
		{"one for two", []Binding{b("vm-1", "2001:db8::c", ""), b("vm-2", "2001:db8::c", "")}, `workload "vm-1"`},
		{"IPv4", []Binding{b("vm-1", "192.0.2.1", "")}, "not a plain IPv6 address"},
		{"with a zone", []Binding{b("vm-1", "fe80::1%eth0", "")}, "not a plain IPv6 address"},
	} {
		err := s.PutBindings(t.Context(), tt.list)
		if err == nil || !strings.Contains(err.Error(), tt.want) || snapshot(t, s).Revision != revision {
			t.Errorf("%s: error %v, want one with %q and no change", tt.name, err, tt.want)
		}
	}
	moved := b("vm-1", "2001:db8::a", "02::3")
	if err := s.PutBindings(t.Context(), []Binding{moved}); err != nil || snapshot(t, s).Bindings[0] != moved {
		t.Errorf("a new link-layer address: %v, %v", err, snapshot(t, s).Bindings)
	}
	if err := s.DeleteAttachment(t.Context(), "acme", "vm-1"); err != nil {
		t.Fatal(err)
	}
	if got := snapshot(t, s).Bindings; len(got) != 1 || got[0].Workload != "vm-2" {
		t.Errorf("left: %v", got)
	}
}

func TestLockdownTrial(t *testing.T) {
	s := openStore(t, t.TempDir())
	if got := snapshot(t, s).Lockdown; got != nil {
		t.Errorf("a trial from nowhere: %v", got)
	}
	pos := spec.Pos{File: "node.yaml", Line: 3, Column: 5}
	pending := &LockdownTrial{Deadline: learnedAt, Allow: []spec.LockdownAllow{
		{From: netip.MustParsePrefix("203.0.113.0/24"), Ports: []spec.Ports{{Proto: spec.ProtoTCP, First: 22, Last: 22, Pos: pos}}, Pos: pos},
		{From: netip.MustParsePrefix("2001:db8::/32"), Ports: []spec.Ports{{Any: true, Last: 65535}}},
	}}
	confirmed := &LockdownTrial{Allow: pending.Allow}
	for _, want := range []*LockdownTrial{pending, confirmed, {}, nil, nil} {
		if err := s.PutLockdownTrial(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, snapshot(t, s).Lockdown, comparable); diff != "" {
			t.Errorf("trial (-want +got):\n%s", diff)
		}
	}
}

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	put(t, s, "acme", "web", "db")
	put(t, s, "gone", "web")
	attach(t, s, "acme", "web", "web-1")
	attach(t, s, "acme", "db", "db-1")
	bind(t, s, "acme", "db-1", "2001:db8::5")
	if err := s.DeleteNetwork(t.Context(), "gone", false); err != nil {
		t.Fatal(err)
	}
	if err := s.PutLockdownTrial(t.Context(), &LockdownTrial{Deadline: learnedAt}); err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, s)
	closeStore(t, s)
	s = openStore(t, dir)
	if diff := cmp.Diff(before, snapshot(t, s), comparable); diff != "" {
		t.Errorf("after a restart (-before +after):\n%s", diff)
	}
	if r := put(t, s, "next", "web"); r.ID != 3 || r.Prefix.String() != "2001:db8:0:3::/64" || r.Services["web"] != 4 {
		t.Errorf("what was released before the restart was given at once: %+v", r)
	}
}

func TestUnknownFormat(t *testing.T) {
	s := openStore(t, t.TempDir())
	for key, tt := range map[string]struct{ value, want string }{
		networksRoot + "acme":    {`{"version":2,"id":1}`, "version 2, this program reads 1"},
		networksRoot + "globex":  {`{"version":1,"colour":"red"}`, `unknown field "colour"`},
		networksRoot + "initech": {`{`, "networks/initech"},
		root + "moods/today":     {`{"version":1}`, "unknown"},
		bindingsRoot + "x":       {`{"version":1}`, "want a network, a workload and an address"},
		attachmentsRoot + "x":    {`{"version":1}`, "no workload in it"},
		prefixesRoot + "x":       {`{"version":1}`, "prefixes/x"},
		networkIDsRoot + "x":     {`{"version":1}`, "network-ids/x"},
	} {
		if _, err := s.client.Put(t.Context(), key, tt.value); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Snapshot(t.Context()); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", key, err, tt.want)
		}
		if _, err := s.client.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
}
