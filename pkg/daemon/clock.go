package daemon

import "time"

// setBack is by how much a clock must have been put back to matter: WireGuard itself
// goes on trying for 90 s (its REKEY_ATTEMPT_TIME).
const setBack = time.Minute

// wallClock notes when the machine's clock was put back. A WireGuard peer takes no
// handshake whose timestamp is not above the last one of the same key, so until the old
// time has passed again it answers nothing that this node begins: unless with a new key.
type wallClock struct {
	wall    time.Time     // when it was looked at last
	counted time.Duration // then, on the clock that only counts
	back    time.Time     // when it was put back, by itself; zero: it never was
}

// look tells by how much the clock was put back, if it was: since it was looked at last,
// or at the first time since the registry confirmed what this node kept of it from an
// earlier run. It is given the wall clock and one that only counts.
func (c *wallClock) look(wall time.Time, counted time.Duration, kept time.Time) (by time.Duration) {
	wall = wall.Round(0) // without the clock that only counts
	if c.wall.IsZero() {
		by = kept.Sub(wall)
	} else {
		by = (counted - c.counted) - wall.Sub(c.wall)
	}
	c.wall, c.counted = wall, counted
	if by <= setBack {
		return 0
	}
	c.back = wall
	return by
}

// stale says that a key may have been used under a clock that was ahead.
func (c *wallClock) stale(made, now time.Time) bool {
	const coarse = time.Second // a file's time is of a clock of the kernel's that ticks
	return !c.back.IsZero() && (made.Before(c.back.Add(-coarse)) || made.After(now.Add(coarse)))
}
