package apply

import (
	"context"
	"log/slog"
	"time"

	bpf "github.com/zosnet/zosnet/pkg/maps"
)

// epochInterval is how often the route epoch counts up at most: each time, every
// flow looks its next hop up again.
const epochInterval = 100 * time.Millisecond

// advanceRoutes has cached next hops looked up again after changes to links,
// addresses or routes: at the first of them at once, and once more for those that
// follow within epochInterval.
func advanceRoutes(ctx context.Context, m *bpf.Maps, changes <-chan struct{}, log *slog.Logger) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-changes:
		}
		if err := m.AdvanceRoutes(); err != nil {
			log.Warn("cached next hops stay until they expire", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(epochInterval):
		}
	}
}
