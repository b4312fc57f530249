package userspace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// What the daemon leaves open for the process, after the standard three.
const (
	controlFD = 3 + iota // listens for orders
	lockFD               // held locked: one process a directory
)

// Run is the process: it takes orders on the socket that it was started with, until
// its last device has gone or the context ends. Its first call strips the process of
// its privileges and leaves the rest to a child.
func Run(ctx context.Context, log *slog.Logger) error {
	if is, err := unix.GetsockoptInt(controlFD, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || is == 0 {
		return errors.New("it has no socket to take orders from: the daemon starts it")
	}
	if done, err := detach(); done || err != nil {
		return err
	}
	listener, err := net.FileListener(os.NewFile(controlFD, "control"))
	if err != nil {
		return fmt.Errorf("listen for orders: %w", err)
	}
	control, ok := listener.(*net.UnixListener)
	if !ok {
		return errors.New("what it should take orders from is no unix socket: the daemon starts it")
	}
	p := &process{log: log, devices: map[string]*carrier{}, empty: make(chan struct{})}
	go p.accept(control)
	select {
	case <-ctx.Done():
	case <-p.empty:
	}
	_ = control.Close()
	p.stop()
	return nil
}

// errEnding is the answer to an order that came too late.
var errEnding = errors.New("the process is about to end")

type process struct {
	log *slog.Logger

	mu      sync.Mutex // one order at a time
	devices map[string]*carrier
	empty   chan struct{} // closed when the last device has gone
	ended   bool
}

func (p *process) accept(control *net.UnixListener) {
	for {
		conn, err := control.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			p.log.Error("accept an order", "error", err)
			time.Sleep(100 * time.Millisecond) // out of files, most likely
			continue
		}
		go p.serve(conn)
	}
}

// orderTime bounds one order, so that a daemon that hangs holds nothing up.
const orderTime = 10 * time.Second

func (p *process) serve(conn *net.UnixConn) {
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(orderTime))
	var o order
	files, err := receive(conn, &o)
	defer func() { closeAll(files) }()
	if err != nil {
		p.log.Error("read an order", "error", err)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	a := answer{Version: version}
	sockets, err := p.do(o, &a, files)
	defer closeAll(sockets)
	if err != nil {
		a.Error = err.Error()
	}
	if err := send(conn, a, sockets...); err != nil {
		p.log.Error("answer an order", "order", o.Op, "interface", o.Name, "error", err)
	}
	if o.Op == opRemove {
		p.endIfEmpty()
	}
}

func (p *process) do(o order, a *answer, files []*os.File) ([]*os.File, error) {
	switch o.Op {
	case opAdd:
		return nil, p.add(o.Name, files)
	case opRemove:
		p.remove(o.Name)
		return nil, nil
	case opList:
		a.Devices = slices.Sorted(maps.Keys(p.devices))
		return nil, nil
	}
	c, ok := p.devices[o.Name]
	switch {
	case !ok:
		return nil, fmt.Errorf("no device %s is carried here", o.Name)
	case o.Op == opListen:
		return nil, c.listen(files)
	case o.Op == opStart:
		return c.start()
	case o.Op == opResize:
		return nil, c.resize()
	}
	return nil, fmt.Errorf("unknown order %q: this process is older than the daemon; it knows version %d", o.Op, version)
}

// add begins to carry, in the place of a device of that name whose link has gone.
func (p *process) add(name string, files []*os.File) error {
	if p.ended {
		return errEnding
	}
	if len(files) != 2 {
		return fmt.Errorf("%d files came with device %s, and 2 are wanted", len(files), name)
	}
	if old, ok := p.devices[name]; ok {
		old.stop()
		delete(p.devices, name)
	}
	c, err := carry(name, files[0], files[1], p.log)
	if err != nil {
		return err
	}
	p.devices[name] = c
	go p.await(c)
	return nil
}

// await forgets a device whose link was deleted: wireguard-go stops by itself.
func (p *process) await(c *carrier) {
	<-c.device.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.devices[c.name] == c {
		c.stop()
		delete(p.devices, c.name)
		p.log.Warn("the link is gone", "interface", c.name)
	}
}

func (p *process) remove(name string) {
	if c, ok := p.devices[name]; ok {
		c.stop()
		delete(p.devices, name)
	}
}

func (p *process) endIfEmpty() {
	if len(p.devices) == 0 && !p.ended {
		p.ended = true
		close(p.empty)
	}
}

func (p *process) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	for name := range p.devices {
		p.remove(name)
	}
}
