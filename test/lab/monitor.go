package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Drop is one line of `zosnet monitor --drops -o json`.
type Drop struct {
	Time      string     `json:"time"` // RFC 3339
	Reason    string     `json:"reason"`
	Network   string     `json:"network"`
	Src       netip.Addr `json:"src"` // invalid when the frame has none
	Dst       netip.Addr `json:"dst"`
	Proto     string     `json:"proto"` // tcp, udp, icmpv6, or a number
	Sport     uint16     `json:"sport"`
	Dport     uint16     `json:"dport"`
	Interface string     `json:"interface"`
	MAC       string     `json:"mac"`
}

// Monitor is a running `zosnet monitor --drops`; it keeps what it has seen.
type Monitor struct {
	cmd  *exec.Cmd
	done chan struct{}

	mu    sync.Mutex
	drops []Drop
	more  chan struct{} // closed and replaced at each drop
	err   error
}

// Monitor starts watching drops. Close ends it.
func (d *Daemon) Monitor(ctx context.Context) (*Monitor, error) {
	cmd := d.Command(ctx, d.site.zosnet, "monitor", "--drops", "-o", "json")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start zosnet monitor: %w", err)
	}
	m := &Monitor{cmd: cmd, done: make(chan struct{}), more: make(chan struct{})}
	go m.read(out)
	return m, nil
}

func (m *Monitor) read(out io.Reader) {
	defer close(m.done)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var drop Drop
		err := json.Unmarshal(lines.Bytes(), &drop)
		m.mu.Lock()
		if err != nil {
			m.err = fmt.Errorf("zosnet monitor printed %q: %w", lines.Text(), err)
		} else {
			m.drops = append(m.drops, drop)
		}
		close(m.more)
		m.more = make(chan struct{})
		m.mu.Unlock()
	}
	_ = m.cmd.Wait()
}

// Seen returns the drops so far for which match says yes, and the first line
// that was no drop as an error.
func (m *Monitor) Seen(match func(Drop) bool) ([]Drop, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []Drop
	for _, drop := range m.drops {
		if match(drop) {
			found = append(found, drop)
		}
	}
	return found, m.err
}

// Wait waits until a drop matches, and returns it.
func (m *Monitor) Wait(ctx context.Context, match func(Drop) bool) (Drop, error) {
	for {
		m.mu.Lock()
		more := m.more
		m.mu.Unlock()
		found, err := m.Seen(match)
		if err != nil {
			return Drop{}, err
		}
		if len(found) > 0 {
			return found[0], nil
		}
		select {
		case <-more:
		case <-m.done:
			return Drop{}, fmt.Errorf("zosnet monitor ended: %v", m.cmd.ProcessState)
		case <-ctx.Done():
			return Drop{}, fmt.Errorf("no such drop: %w", ctx.Err())
		}
	}
}

// Close ends the monitor.
func (m *Monitor) Close() {
	_ = m.cmd.Process.Signal(unix.SIGTERM)
	select {
	case <-m.done:
	case <-time.After(5 * time.Second):
		_ = m.cmd.Process.Kill()
		<-m.done
	}
}
