package guest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// cable joins two network cards with several queues each. QEMU's own hubs have
// one, so it is a pair of the kernel's taps on a bridge, in a network namespace
// that nobody else sees and that goes with the files.
type cable struct {
	ends [2][]*os.File // of each card, a file for each queue
}

// newCable makes a cable. It needs root.
func newCable(queues int) (*cable, error) {
	c := &cable{}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // and never back: the thread ends with its goroutine
		made <- c.lay(queues)
	}()
	if err := <-made; err != nil {
		c.close()
		return nil, fmt.Errorf("make a cable with %d queues: %w", queues, err)
	}
	return c, nil
}

// lay moves its thread into a namespace of its own.
func (c *cable) lay(queues int) error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("make a network namespace: %w", err)
	}
	// The bridge itself has nothing to say.
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	commands := []string{"link add cable type bridge mcast_snooping 0", "link set cable up"}
	for end, name := range []string{"near", "far"} {
		for range queues {
			file, err := openTap(name)
			if err != nil {
				return err
			}
			c.ends[end] = append(c.ends[end], file)
		}
		commands = append(commands, "link set "+name+" master cable", "link set "+name+" up")
	}
	for _, command := range commands {
		if out, err := exec.Command("ip", strings.Fields(command)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", command, err, out)
		}
	}
	return nil
}

// openTap opens one queue of a tap, which the first one makes (the kernel's
// Documentation/networking/tuntap.rst).
func openTap(name string) (*os.File, error) {
	const path = "/dev/net/tun"
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	var request struct {
		name  [unix.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}
	copy(request.name[:], name)
	request.flags = unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR | unix.IFF_MULTI_QUEUE
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TUNSETIFF, uintptr(unsafe.Pointer(&request))); errno != 0 {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("make tap %s: %w", name, errno)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// close closes this process's files; a QEMU that has them goes on.
func (c *cable) close() {
	if c == nil {
		return
	}
	for _, end := range c.ends {
		for _, file := range end {
			_ = file.Close()
		}
	}
}

// arguments of QEMU for a card at each end, given how it is told of a file.
func (c *cable) arguments(addFile func(*os.File) int) []string {
	if c == nil {
		return nil
	}
	var arguments []string
	for end, files := range c.ends {
		var fds []string
		for _, file := range files {
			fds = append(fds, fmt.Sprint(addFile(file)))
		}
		// A vector for each direction of each queue, for control and for changes.
		arguments = append(arguments,
			"-netdev", fmt.Sprintf("tap,id=cable%d,fds=%s", end, strings.Join(fds, ":")),
			"-device", fmt.Sprintf("virtio-net-pci,romfile=,netdev=cable%d,mq=on,vectors=%d", end, 2*len(files)+2))
	}
	return arguments
}
