package userspace

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"
)

// carrier is one device.
type carrier struct {
	name   string
	device *device.Device
	link   *link
	uapi   net.Listener
	once   sync.Once
}

// link is a tun device that is watched by nobody: the daemon says when its MTU
// changes, since it is the one that changes it.
type link struct {
	tun.Device
	events chan tun.Event
	once   sync.Once
}

func (l *link) Events() <-chan tun.Event { return l.events }

func (l *link) Close() error {
	err := l.Device.Close()
	l.once.Do(func() { close(l.events) })
	return err
}

// carry takes copies of the files.
func carry(name string, tunFile, uapiFile *os.File, log *slog.Logger) (*carrier, error) {
	uapi, err := net.FileListener(uapiFile)
	if err != nil {
		return nil, fmt.Errorf("listen on the configuration socket of %s: %w", name, err)
	}
	fd, err := duplicate(tunFile)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("copy the tun file of %s: %w", name, err), uapi.Close())
	}
	native, called, err := tun.CreateUnmonitoredTUNFromFD(fd)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("use the tun device of %s: %w", name, err), unix.Close(fd), uapi.Close())
	}
	if called != name {
		return nil, errors.Join(fmt.Errorf("the tun device of %s is called %s", name, called), native.Close(), uapi.Close())
	}
	c := &carrier{name: name, link: &link{Device: native, events: make(chan tun.Event, 4)}, uapi: uapi}
	c.device = device.NewDevice(c.link, conn.NewDefaultBind(), wireguardLog(log, name))
	go c.configure(uapi)
	return c, nil
}

func duplicate(f *os.File) (int, error) {
	fd, err := number(f)
	if err != nil {
		return 0, err
	}
	return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
}

// listen takes a socket in the place of the one that is gone.
func (c *carrier) listen(files []*os.File) error {
	if len(files) != 1 {
		return fmt.Errorf("%d files came with the order to listen, and 1 is wanted", len(files))
	}
	uapi, err := net.FileListener(files[0])
	if err != nil {
		return fmt.Errorf("listen on the configuration socket of %s: %w", c.name, err)
	}
	_ = c.uapi.Close()
	c.uapi = uapi
	go c.configure(uapi)
	return nil
}

// configure serves wgctrl and wg(8).
func (c *carrier) configure(uapi net.Listener) {
	for {
		conn, err := uapi.Accept()
		if err != nil {
			return
		}
		go c.device.IpcHandle(conn)
	}
}

// start opens the UDP sockets, where it has not yet, and gives copies of them.
func (c *carrier) start() ([]*os.File, error) {
	if err := c.device.Up(); err != nil {
		return nil, fmt.Errorf("open the UDP sockets of %s: %w", c.name, err)
	}
	port, err := c.port()
	if err != nil {
		return nil, err
	}
	return udpSockets(port)
}

// resize has wireguard-go read the link's MTU again: it pads packets up to it.
func (c *carrier) resize() error {
	select {
	case c.link.events <- tun.EventMTUUpdate:
		return nil
	default:
		return fmt.Errorf("%s has not taken the last change of its MTU yet", c.name)
	}
}

func (c *carrier) stop() {
	c.once.Do(func() {
		_ = c.uapi.Close()
		c.device.Close()
	})
}
