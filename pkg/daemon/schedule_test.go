package daemon

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestSchedule: a period for all stands for each network that has none of its own, 0 is
// never, and a daemon that starts knows what was said to the one before.
func TestSchedule(t *testing.T) {
	dir := t.TempDir()
	for _, step := range []struct {
		network       string // "": all
		every         time.Duration
		acme, another time.Duration // then
	}{
		{"", 720 * time.Hour, 720 * time.Hour, 720 * time.Hour},
		{"acme", 24 * time.Hour, 24 * time.Hour, 720 * time.Hour},
		{"acme", 0, 0, 720 * time.Hour},
		{"", 48 * time.Hour, 48 * time.Hour, 48 * time.Hour},
		{"acme", 24 * time.Hour, 24 * time.Hour, 48 * time.Hour},
		{"", 0, 0, 0},
	} {
		s, err := openSchedule(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.set(step.network, step.every); err != nil {
			t.Fatal(err)
		}
		again, err := openSchedule(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, is := range []*schedule{s, again} {
			if acme, another := is.of("acme"), is.of("another"); acme != step.acme || another != step.another {
				t.Errorf("%q every %v: acme %v, another %v; want %v, %v", step.network, step.every, acme, another, step.acme, step.another)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "rotation.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openSchedule(dir); err == nil {
		t.Error("a broken file was read")
	}
}
