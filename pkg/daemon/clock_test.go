package daemon

import (
	"testing"
	"time"
)

// TestClockPutBack: which keys are changed because the clock was put back, before the
// daemon started or while it runs.
func TestClockPutBack(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Now().Round(0)
	for _, tt := range []struct {
		name   string
		kept   time.Time     // when the registry had confirmed what was kept
		passed time.Duration // on the wall clock, while a minute was counted
		back   time.Duration
	}{
		{"nothing was kept, and nothing happens", time.Time{}, time.Minute, 0},
		{"what was kept is of yesterday", now.Add(-day), time.Minute, 0},
		{"it is of a minute later, which WireGuard gets over by itself", now.Add(time.Minute), time.Minute, 0},
		{"it is of tomorrow", now.Add(day), time.Minute, day},
		{"it is put back while the daemon runs", now, time.Minute - day, day},
		{"it is put forward", now, day, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var c wallClock
			back := c.look(now, 0, tt.kept)
			end := now.Add(tt.passed)
			back += c.look(end, time.Minute, tt.kept)
			if back != tt.back {
				t.Errorf("put back by %v, want %v", back, tt.back)
			}
			for made, is := range map[time.Time]bool{end.Add(-2 * day): true, end.Add(day): true, c.back.Add(time.Millisecond): false} {
				if stale := c.stale(made, end.Add(time.Millisecond)); stale != (is && back != 0) {
					t.Errorf("a key of %v after the end: stale %t", made.Sub(end), stale)
				}
			}
		})
	}
}
