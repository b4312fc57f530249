package userspace

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Process is the daemon's hold of the process, which runs only while there are
// devices. Its calls belong in the network namespace of the daemon: that is where
// devices are made and where the process sends and receives.
type Process struct {
	dir     string
	command []string
	log     *slog.Logger
}

// Options say where the process is found.
type Options struct {
	Dir     string   // for its socket, lock and log; made, 0700
	Command []string // starts it, default this program with "wg"
	Log     *slog.Logger
}

// Open finds or prepares the place of the process. It starts nothing. Configuration
// sockets whose process is dead go, whoever made them: wg(8) and wgctrl fail on all
// devices of the machine as long as there is one.
func Open(o Options) (*Process, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the WireGuard process: %w", err)
	}
	if len(o.Command) == 0 {
		o.Command = []string{"/proc/self/exe", "wg"}
	}
	p := &Process{dir: o.Dir, command: o.Command, log: o.Log}
	return p, p.removeStale()
}

func (p *Process) control() string { return filepath.Join(p.dir, "wg.sock") }

// Create makes a tun device and has the process carry it. It is down, and its UDP
// sockets are closed.
func (p *Process) Create(name string) error {
	link, err := makeTun(name)
	if err != nil {
		return err
	}
	defer func() { _ = link.Close() }()
	uapi, err := listenUAPI(name)
	if err != nil {
		return err
	}
	defer func() { _ = uapi.Close() }()
	if err := p.create(name, link, uapi); err != nil {
		return fmt.Errorf("have the WireGuard process carry %s: %w", name, err)
	}
	return nil
}

// Listen makes a device's configuration socket anew, which somebody has removed: the
// device goes on without, but nobody can configure it.
func (p *Process) Listen(name string) error {
	uapi, err := listenUAPI(name)
	if err != nil {
		return err
	}
	defer func() { _ = uapi.Close() }()
	if _, err := p.ask(order{Op: opListen, Name: name}, uapi); err != nil {
		return fmt.Errorf("have %s listen on its configuration socket again: %w", name, err)
	}
	return nil
}

// Start opens the device's UDP sockets where they are not open yet, on the port that
// it was configured with. It gives them room for what comes while the process does
// not run, which the process itself may not.
func (p *Process) Start(name string) error {
	r, err := p.ask(order{Op: opStart, Name: name})
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	defer closeAll(r.files)
	for _, s := range r.files {
		if err := widen(s); err != nil {
			return fmt.Errorf("give a UDP socket of %s more room: %w", name, err)
		}
	}
	return nil
}

// socketRoom is what a UDP socket of wireguard-go holds, as it asks for itself.
const socketRoom = 7 << 20

func widen(socket *os.File) error {
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = errors.Join(unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, socketRoom),
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, socketRoom))
	})
	return errors.Join(err, set)
}

// Resize tells that the link's MTU has changed.
func (p *Process) Resize(name string) error {
	if _, err := p.ask(order{Op: opResize, Name: name}); err != nil {
		return fmt.Errorf("tell the WireGuard process of the MTU of %s: %w", name, err)
	}
	return nil
}

// Remove ends a device; its link and its socket go. The process ends with its last
// device. A device that is not there is no error.
func (p *Process) Remove(name string) error {
	if _, err := p.ask(order{Op: opRemove, Name: name}); err != nil && !absent(err) {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return removeUAPI(name)
}

// List gives the names of the devices that are carried, sorted; none where no
// process runs.
func (p *Process) List() ([]string, error) {
	r, err := p.ask(order{Op: opList})
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("ask the WireGuard process for its devices: %w", err)
	}
	return r.Devices, nil
}

// absent tells whether an error means that no process listens.
func absent(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED)
}

// ended tells whether an error means that the process went away meanwhile.
func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE)
}

// create is ask for a new device, and starts the process first where none runs. One
// that is about to end is waited for.
func (p *Process) create(name string, files ...*os.File) error {
	deadline := time.Now().Add(orderTime)
	for {
		_, err := p.ask(order{Op: opAdd, Name: name}, files...)
		if absent(err) {
			if err = p.start(); err == nil {
				continue
			}
		}
		waiting := errors.Is(err, unix.EWOULDBLOCK) || err != nil && err.Error() == errEnding.Error()
		if !waiting || time.Now().After(deadline) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// refusedError is what the process says to an order.
type refusedError struct{ message string }

func (e *refusedError) Error() string { return e.message }

// ask gives an order and waits for the answer. All orders can be given again, and
// are, where the process went away over one.
func (p *Process) ask(o order, files ...*os.File) (r result, err error) {
	o.Version = version
	for deadline := time.Now().Add(orderTime); ; time.Sleep(10 * time.Millisecond) {
		if r, err = p.tell(o, files); err == nil || !ended(err) || time.Now().After(deadline) {
			return r, err
		}
	}
}

// result is an answer and the files that came with it.
type result struct {
	answer
	files []*os.File
}

func (p *Process) tell(o order, files []*os.File) (r result, err error) {
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: p.control(), Net: "unixpacket"})
	if err != nil {
		return r, err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(orderTime)); err != nil {
		return r, err
	}
	if err := send(conn, o, files...); err != nil {
		return r, err
	}
	r.files, err = receive(conn, &r.answer)
	if err == nil && r.Error != "" {
		err = &refusedError{r.Error}
	}
	if err != nil {
		closeAll(r.files)
		r.files = nil
	}
	return r, err
}
