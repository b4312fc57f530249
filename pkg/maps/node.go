package maps

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// ReadNode gives the node-wide entry.
func (m *Maps) ReadNode() (n Node, err error) {
	var zero uint32
	if err = m.Node.Lookup(&zero, &n); err != nil {
		err = fmt.Errorf("read the node's entry: %w", err)
	}
	return n, err
}

// UpdateNode changes the node-wide entry; it is not written where change leaves
// it as it was.
func (m *Maps) UpdateNode(change func(*Node)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.ReadNode()
	if err != nil {
		return err
	}
	was := n
	change(&n)
	if n == was {
		return nil
	}
	var zero uint32
	if err := m.Node.Put(&zero, &n); err != nil {
		return fmt.Errorf("write the node's entry: %w", err)
	}
	return nil
}

// SetLockdown puts a version of the lockdown's openings in force, and ends a
// trial.
func (m *Maps) SetLockdown(version uint32) error {
	return m.UpdateNode(func(n *Node) {
		n.Lockdown, n.LockdownTrial, n.TrialDeadline = version, 0, 0
	})
}

// TryLockdown puts a version in force until the deadline, in ns of
// CLOCK_BOOTTIME; then the datapath goes back by itself.
func (m *Maps) TryLockdown(version uint32, deadline uint64) error {
	return m.UpdateNode(func(n *Node) { n.LockdownTrial, n.TrialDeadline = version, deadline })
}

// SetWatched says whether somebody reads events.
func (m *Maps) SetWatched(watched bool) error {
	return m.UpdateNode(func(n *Node) {
		n.Watched = 0
		if watched {
			n.Watched = 1
		}
	})
}

// AdvanceRoutes makes every cached next hop stale.
func (m *Maps) AdvanceRoutes() error {
	return m.UpdateNode(func(n *Node) { n.RouteEpoch++ })
}

// BootTime gives now in ns of CLOCK_BOOTTIME, the clock of events and deadlines.
func BootTime() uint64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return uint64(ts.Nano())
}

// MonotonicTime gives the CLOCK_MONOTONIC time in ns, the clock of flows.
func MonotonicTime() uint64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0
	}
	return uint64(ts.Nano())
}

// TimeOf gives the wall-clock time of a moment in ns of CLOCK_BOOTTIME.
func TimeOf(boot uint64) time.Time {
	return time.Now().Add(time.Duration(int64(boot) - int64(BootTime())))
}
