package lab

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Machine is one network namespace, seen as a machine: programs can be run
// on it and sockets opened in it. The zero Machine is not usable; the lab and
// Daemon.Attach make them.
type Machine struct {
	Name string // for messages: "node", "acme.web-1"
	path string // the namespace's file
	etc  string // directory of files that its programs see in /etc, if it has some
	env  []string
}

// NewMachine is the machine behind a namespace file that already exists.
func NewMachine(name, path string) *Machine { return &Machine{Name: name, path: path} }

// Path is the file of the machine's network namespace.
func (m *Machine) Path() string { return m.path }

// Command prepares a program that will run on the machine. Only the network
// namespace changes: files, and so bpffs and sockets, are those of the caller
// (which is why this is nsenter: `ip netns exec` would remount /sys), unless the
// machine has files of its own.
func (m *Machine) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	enter := []string{"nsenter", "--net=" + m.path, "--"}
	if m.etc != "" {
		enter = []string{"ip", "netns", "exec", filepath.Base(m.path)}
	}
	cmd := exec.CommandContext(ctx, enter[0], slices.Concat(enter[1:], []string{name}, args)...)
	cmd.Env = append(os.Environ(), m.env...)
	return cmd
}

// Run runs a program on the machine to its end and returns what it printed on
// both outputs; an error repeats it.
func (m *Machine) Run(ctx context.Context, name string, args ...string) (string, error) {
	out, err := m.Command(ctx, name, args...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s: %s %s: %w\n%s", m.Name, name, strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// Do calls f on a thread that is on the machine. Sockets that f opens stay
// there; goroutines that f starts do not.
func (m *Machine) Do(f func() error) error {
	runtime.LockOSThread()
	here, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open this thread's network namespace: %w", err)
	}
	defer func() { _ = here.Close() }()
	there, err := netns.GetFromPath(m.path)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("%s: open network namespace %s: %w", m.Name, m.path, err)
	}
	defer func() { _ = there.Close() }()
	if err := netns.Set(there); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("%s: enter network namespace: %w", m.Name, err)
	}
	defer func() {
		// A thread that cannot go back stays locked, and so dies with its
		// goroutine instead of serving others from the wrong namespace.
		if netns.Set(here) == nil {
			runtime.UnlockOSThread()
		}
	}()
	return f()
}

// Dial connects from the machine. The address holds no host name: resolving
// would leave the thread, and so the machine.
func (m *Machine) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return m.DialFrom(ctx, net.Dialer{}, network, address)
}

// DialFrom is Dial with a local address, a timeout or a Control function.
func (m *Machine) DialFrom(ctx context.Context, d net.Dialer, network, address string) (conn net.Conn, err error) {
	doErr := m.Do(func() error {
		conn, err = d.DialContext(ctx, network, address)
		return nil
	})
	if doErr != nil {
		return nil, doErr
	}
	return conn, err
}

// Listen listens on the machine for connections.
func (m *Machine) Listen(network, address string) (l net.Listener, err error) {
	doErr := m.Do(func() error {
		l, err = net.Listen(network, address)
		return nil
	})
	if doErr != nil {
		return nil, doErr
	}
	return l, err
}

// ListenPacket opens a datagram socket on the machine.
func (m *Machine) ListenPacket(network, address string) (c net.PacketConn, err error) {
	doErr := m.Do(func() error {
		c, err = net.ListenPacket(network, address)
		return nil
	})
	if doErr != nil {
		return nil, doErr
	}
	return c, err
}

// Netlink opens a netlink handle on the machine; the caller closes it.
func (m *Machine) Netlink() (*netlink.Handle, error) {
	ns, err := netns.GetFromPath(m.path)
	if err != nil {
		return nil, fmt.Errorf("%s: open network namespace %s: %w", m.Name, m.path, err)
	}
	defer func() { _ = ns.Close() }()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("%s: open netlink: %w", m.Name, err)
	}
	return h, nil
}

// Sysctl sets a sysctl of the machine by its path under /proc/sys, such as
// "net/ipv6/conf/all/forwarding". Only names under net are its own.
func (m *Machine) Sysctl(name, value string) error {
	if !strings.HasPrefix(name, "net/") {
		return fmt.Errorf("%s: sysctl %s belongs to the whole machine", m.Name, name)
	}
	return m.Do(func() error {
		return os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0o644)
	})
}
