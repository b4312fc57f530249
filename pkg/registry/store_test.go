package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain checks that no goroutine of the registry outlives its Store. In a
// child process it runs the child's part instead.
func TestMain(m *testing.M) {
	switch os.Getenv(childVariable) {
	case "":
		goleak.VerifyTestMain(m)
	case childApplies:
		os.Exit(applyUntilKilled(os.Getenv(childDirVariable)))
	default: // a test of its own; what fails in it may leave goroutines
		os.Exit(m.Run())
	}
}

var nodePrefixes = []netip.Prefix{netip.MustParsePrefix("2001:db8::/56")}

// quiet is where the registry logs in tests: a test fails when etcd reports an
// error that the test does not provoke.
func quiet(t testing.TB) *slog.Logger {
	var log bytes.Buffer
	t.Cleanup(func() {
		if log.Len() > 0 {
			t.Errorf("the registry logged:\n%s", log.String())
		}
	})
	return slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))
}

func openStore(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(t.Context(), dir, quiet(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeStore(t, s) })
	return s
}

func closeStore(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func snapshot(t testing.TB, s *Store) Snapshot {
	t.Helper()
	snap, err := s.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

func put(t testing.TB, s *Store, name string, services ...string) NetworkRecord {
	t.Helper()
	r, err := s.PutNetwork(t.Context(), "n1", nodePrefixes, name, name+".yaml", []byte("network: "+name+"\n"), services)
	if err != nil {
		t.Fatalf("put %s: %v", name, err)
	}
	return r
}

func attach(t testing.TB, s *Store, network, service, name string) Attachment {
	t.Helper()
	a, err := s.PutAttachment(t.Context(), Attachment{Network: network, Service: service, Name: name, Kind: AttachmentNetns})
	if err != nil {
		t.Fatalf("attach %s/%s: %v", network, name, err)
	}
	return a
}

// wantError fails unless err is a T, and gives it.
func wantError[T error](t testing.TB, err error) T {
	t.Helper()
	var want T
	if !errors.As(err, &want) {
		t.Fatalf("error %v, want a %T", err, want)
	}
	return want
}

func TestSecondDaemonIsRefused(t *testing.T) {
	dir := t.TempDir()
	first := openStore(t, dir)
	_, err := Open(t.Context(), dir, quiet(t))
	locked := wantError[*LockedError](t, err)
	if locked.PID != os.Getpid() || locked.Dir != dir {
		t.Errorf("got %+v, want process %d in %s", locked, os.Getpid(), dir)
	}
	put(t, first, "acme", "web") // it has not suffered
	closeStore(t, first)
	second := openStore(t, dir)
	if got := snapshot(t, second).Networks; len(got) != 1 {
		t.Errorf("networks %v", got)
	}
}

func TestDirectoryIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	if err := os.MkdirAll(filepath.Join(dir, "etcd"), 0o755); err != nil {
		t.Fatal(err)
	}
	openStore(t, dir)
	for path, want := range map[string]os.FileMode{"etcd": 0o700, "lock": 0o600} {
		st, err := os.Stat(filepath.Join(dir, path))
		if err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want %v", path, st.Mode(), err, want)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, dir, want string
	}{
		{"a file in its place", file, "move it away"},
		{"a path too long for a socket", filepath.Join(t.TempDir(), string(bytes.Repeat([]byte("x"), 100))), "shorter stateDir"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Open(t.Context(), tt.dir, slog.New(slog.DiscardHandler))
			if err == nil || !bytes.Contains([]byte(err.Error()), []byte(tt.want)) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestClosed(t *testing.T) {
	s := openStore(t, t.TempDir())
	changed := s.Watch(t.Context(), 0)
	closeStore(t, s)
	closeStore(t, s)
	if _, err := s.Snapshot(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("snapshot: %v", err)
	}
	if err := s.DeleteNetwork(t.Context(), "acme", false); !errors.Is(err, ErrClosed) {
		t.Errorf("delete: %v", err)
	}
	for range changed { // ends, since it is closed
	}
	for range s.Watch(t.Context(), 0) {
	}
}

func TestWatch(t *testing.T) {
	s := openStore(t, t.TempDir())
	put(t, s, "acme", "web")
	changed := s.Watch(t.Context(), snapshot(t, s).Revision)
	next := func(what string) {
		t.Helper()
		select {
		case _, ok := <-changed:
			if !ok {
				t.Fatalf("%s: the channel is closed", what)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("%s: no news", what)
		}
	}
	silent := func(what string) {
		t.Helper()
		select {
		case <-changed:
			t.Fatalf("%s: news", what)
		case <-time.After(50 * time.Millisecond):
		}
	}
	silent("nothing happened")
	put(t, s, "acme", "web")
	silent("the same document again")
	put(t, s, "acme", "web", "db")
	next("a changed document")
	attach(t, s, "acme", "web", "web-1")
	next("an attachment")
	for i := range 50 {
		attach(t, s, "acme", "web", fmt.Sprintf("many-%d", i))
	}
	next("fifty attachments")

	t.Run("from a revision that is compacted", func(t *testing.T) {
		if _, err := s.reclaim(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		old := s.Watch(ctx, 1)
		select {
		case <-old:
		case <-time.After(30 * time.Second):
			t.Fatal("no news of what is gone")
		}
		cancel()
		for range old {
		}
	})
}
