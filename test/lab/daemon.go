package lab

import (
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
const readyWithin = 30 * time.Second

// Daemon is the zosnet daemon of a lab's node, running or not.
type Daemon struct {
	lab    *Lab
	config string        // path of node.yaml
	cmd    *exec.Cmd     // of the last start
	exited chan struct{} // closed when that process is gone
}

// StartDaemon writes node.yaml, starts `zosnet daemon` on the node and waits
// until it is ready. Workload namespaces have names that the whole machine
// shares, so one lab at a time has a daemon: it waits, within ctx, for the
// others to close.
func (l *Lab) StartDaemon(ctx context.Context) (*Daemon, error) {
	if l.daemon != nil {
		return nil, fmt.Errorf("lab %s: has a daemon already", l.config.Name)
	}
	if l.attach == nil {
		held, err := takeLock(ctx, attachLock)
		if err != nil {
			return nil, fmt.Errorf("lab %s: wait for other labs with a daemon: %w", l.config.Name, err)
		}
		l.attach = held
		if err := sweep(); err != nil {
			return nil, fmt.Errorf("remove what killed processes left: %w", err)
		}
	}
	d := &Daemon{lab: l, config: l.Path("node.yaml")}
	if err := os.WriteFile(d.config, []byte(l.nodeDocument()), 0o644); err != nil {
		return nil, err
	}
	l.daemon = d
	return d, d.Start(ctx)
}

func (l *Lab) nodeDocument() string {
	return fmt.Sprintf(`node: n1
uplinks: [eth0]
prefixes: [%s]
stateDir: %s
runDir: %s
bpffs: %s
%s`, Allocation, l.Path("state"), l.Path("run"), l.Path(bpffsDir), l.config.NodeDocument)
}

// Config is the path of the daemon's node.yaml.
func (d *Daemon) Config() string { return d.config }

// Log is the path of the file with everything the daemon has printed.
func (d *Daemon) Log() string { return d.lab.Path("daemon.log") }

// BPFFS is where the daemon pins.
func (d *Daemon) BPFFS() string { return d.lab.Path(bpffsDir) }

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
		return fmt.Errorf("daemon of lab %s is running", d.lab.config.Name)
	}
	log, err := os.OpenFile(d.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	// Not bound to a context: a daemon ends by Stop, Kill or Close, and that
	// of a kept lab outlives the process that started it.
	cmd := d.lab.Node.Command(context.Background(), d.lab.config.Zosnet, "daemon", "--config", d.config)
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
	return d.lab.remember(func(m *manifest) { m.Processes = []process{p} })
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
	case <-time.After(10 * time.Second):
		return fmt.Errorf("the daemon did not end within 10s of %v\n%s", signal, d.logTail())
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
