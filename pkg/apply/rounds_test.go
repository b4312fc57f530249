package apply

import (
	"slices"
	"testing"
	"time"
)

// TestRounds: every workload has its turn, none twice before all have had theirs, and
// no comparison takes longer than it may.
func TestRounds(t *testing.T) {
	for _, row := range []struct {
		name     string
		n        int
		cost     time.Duration
		looks    int // that one comparison does
		complete int // comparisons until all have had their turn
	}{
		{"nothing is known", 500, 0, 500, 1},
		{"none", 0, time.Millisecond, 0, 1},
		{"all fit", 60, 200 * time.Microsecond, 60, 1},
		{"some fit", 500, 200 * time.Microsecond, 100, 5},
		{"a round ends between two", 250, 200 * time.Microsecond, 100, 3},
		{"a slow machine", 40, 10 * time.Millisecond, fewestLooks, 3},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := rounds{cost: row.cost}
			turns := make([]int, row.n)
			for range row.complete {
				due, looks := r.due(row.n), 0
				for i := range turns {
					if due(i) {
						turns[i]++
						looks++
					}
				}
				if looks != row.looks {
					t.Errorf("%d looks, want %d", looks, row.looks)
				}
			}
			if row.n > 0 && (slices.Min(turns) < 1 || slices.Max(turns) > slices.Min(turns)+1) {
				t.Errorf("turns after %d comparisons: %v", row.complete, turns)
			}
		})
	}
	var r rounds
	for range 100 {
		r.took(time.Millisecond)
	}
	if r.cost < 900*time.Microsecond || r.cost > time.Millisecond {
		t.Errorf("a hundred looks of 1 ms are remembered as %v", r.cost)
	}
}
