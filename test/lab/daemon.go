package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// readyWithin bounds how long a daemon may take from its start to a status of
// ready, on a machine that also runs other tests.
const readyWithin = 2 * time.Minute

// endWithin bounds how long it may take to end.
const endWithin = 30 * time.Second

// Daemon is the zosnet daemon of a lab's node, running or not.
type Daemon struct {
	*Machine // the node

	// Program is what the daemon runs; empty: the lab's zosnet.
	Program string

	site   *site
	dir    string        // its document, state, sockets, pins and log
	cmd    *exec.Cmd     // of the last start
	exited chan struct{} // closed when that process is gone
}

// socketOf is the environment in which zosnet finds the daemon whose files are in dir.
func socketOf(dir string) []string {
	return []string{"ZOSNET_SOCKET=" + filepath.Join(dir, "run/zosnet.sock")}
}

// StartDaemon writes node.yaml, starts `zosnet daemon` on the node and waits
// until it is ready. Workload namespaces have names that the whole machine
// shares, so one lab at a time has a daemon: it waits, within ctx, for the
// others to close.
func (l *Lab) StartDaemon(ctx context.Context) (*Daemon, error) {
	if l.daemon != nil {
		return nil, fmt.Errorf("lab %s: has a daemon already", l.name)
	}
	if err := l.takeTurn(ctx); err != nil {
		return nil, err
	}
	text := fmt.Sprintf("node: n1\nprefixes: [%s]\n%s", Allocation, l.config.NodeDocument)
	d, err := l.newDaemon(l.Node, l.dir, text)
	if err != nil {
		return nil, err
	}
	l.daemon = d
	return d, d.Start(ctx)
}

// newDaemon writes the node.yaml of a machine: what every node of a lab has, and what
// is its own.
func (s *site) newDaemon(on *Machine, dir, own string) (*Daemon, error) {
	d := &Daemon{Machine: on, site: s, dir: dir}
	text := fmt.Sprintf("uplinks: [eth0]\nstateDir: %s\nrunDir: %s\nbpffs: %s\n%s",
		d.path("state"), d.path("run"), d.BPFFS(), own)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return d, os.WriteFile(d.Config(), []byte(text), 0o644)
}

// path is a file of this daemon.
func (d *Daemon) path(name string) string { return filepath.Join(d.dir, name) }

// Config is the path of the daemon's node.yaml.
func (d *Daemon) Config() string { return d.path("node.yaml") }

// Log is the path of the file with everything the daemon has printed.
func (d *Daemon) Log() string { return d.path("daemon.log") }

// BPFFS is where the daemon pins.
func (d *Daemon) BPFFS() string { return d.path(bpffsDir) }

// Start starts the daemon again after Stop or Kill, and waits until it is
// ready.
func (d *Daemon) Start(ctx context.Context) error {
	if err := d.Launch(); err != nil {
		return err
	}
	return d.WaitReady(ctx)
}

// Launch starts the daemon and does not wait for it: for tests in which it
// must refuse.
func (d *Daemon) Launch() error {
	if d.cmd != nil && !d.gone() {
		return fmt.Errorf("daemon of %s in lab %s is running", d.Name, d.site.name)
	}
	log, err := os.OpenFile(d.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	// Not bound to a context: a daemon ends by Stop, Kill or Close, and that
	// of a kept lab outlives the process that started it.
	cmd := d.Command(context.Background(), cmp.Or(d.Program, d.site.zosnet), "daemon", "--config", d.Config())
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the daemon: %w", err)
	}
	exited := make(chan struct{})
	d.cmd, d.exited = cmd, exited
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	p, err := newProcess(cmd.Process.Pid)
	if err != nil {
		return fmt.Errorf("the daemon ended at once: %w\n%s", err, d.logTail())
	}
	return d.site.remember(func(m *manifest) {
		for i := range m.Nodes {
			if m.Nodes[i].Dir == d.dir {
				m.Nodes[i].Daemon = p
			}
		}
	})
}

// WaitReady waits until `zosnet status` says ready.
func (d *Daemon) WaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	var last error
	for {
		if _, last = d.CLI(ctx, "status", "-o", "json"); last == nil {
			return nil
		}
		select {
		case <-d.exited:
			return fmt.Errorf("the daemon ended: %v\n%s", d.cmd.ProcessState, d.logTail())
		case <-ctx.Done():
			return fmt.Errorf("the daemon is not ready: %w\n%s", last, d.logTail())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Exited is closed when the process started last is gone.
func (d *Daemon) Exited() <-chan struct{} { return d.exited }

// ExitCode is the exit status of the process started last, -1 while it runs
// or when a signal ended it.
func (d *Daemon) ExitCode() int {
	if !d.gone() {
		return -1
	}
	return d.cmd.ProcessState.ExitCode()
}

// PID is the process id of the daemon started last.
func (d *Daemon) PID() int { return d.cmd.Process.Pid }

func (d *Daemon) gone() bool {
	select {
	case <-d.exited:
		return true
	default:
		return false
	}
}

// Kill ends the daemon with SIGKILL, as a crash would.
func (d *Daemon) Kill() error { return d.end(unix.SIGKILL) }

// Stop ends the daemon with SIGTERM, as systemd would.
func (d *Daemon) Stop() error { return d.end(unix.SIGTERM) }

func (d *Daemon) end(signal unix.Signal) error {
	if err := d.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %v to the daemon: %w", signal, err)
	}
	select {
	case <-d.exited:
		return nil
	case <-time.After(endWithin):
		return fmt.Errorf("the daemon did not end within %v of %v\n%s", endWithin, signal, d.logTail())
	}
}

// Restart stops the daemon and starts it again.
func (d *Daemon) Restart(ctx context.Context) error {
	if err := d.Stop(); err != nil {
		return err
	}
	return d.Start(ctx)
}

func (d *Daemon) logTail() string {
	const lines = 20
	text, err := os.ReadFile(d.Log())
	if err != nil {
		return ""
	}
	all := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return "end of " + filepath.Base(d.Log()) + ":\n" + strings.Join(all, "\n")
}
