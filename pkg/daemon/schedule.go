package daemon

import (
	"fmt"
	"path/filepath"
	"sync"
	"time"
)

// schedule is how often this node changes its networks' keys by itself. It is kept on
// the node: others follow its changes and need not agree on when.
type schedule struct {
	path string
	mu   sync.Mutex
	kept schedulePeriods
}

type schedulePeriods struct {
	All      time.Duration            `json:"all,omitempty"`      // ns; 0: never
	Networks map[string]time.Duration `json:"networks,omitempty"` // instead of All
}

func openSchedule(stateDir string) (*schedule, error) {
	s := &schedule{path: filepath.Join(stateDir, "rotation.json")}
	if err := readKept(s.path, &s.kept); err != nil {
		return nil, fmt.Errorf("read how often keys are changed: %w", err)
	}
	return s, nil
}

// of gives the period of a network, 0 for never.
func (s *schedule) of(network string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if every, own := s.kept.Networks[network]; own {
		return every
	}
	return s.kept.All
}

// set keeps a period for a network; for all, and then for each, where none is named.
func (s *schedule) set(network string, every time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := schedulePeriods{All: every}
	if network != "" {
		next = schedulePeriods{s.kept.All, map[string]time.Duration{network: every}}
		for other, period := range s.kept.Networks {
			if other != network {
				next.Networks[other] = period
			}
		}
	}
	if err := writeKept(s.path, next); err != nil {
		return fmt.Errorf("keep how often keys are changed: %w", err)
	}
	s.kept = next
	return nil
}
