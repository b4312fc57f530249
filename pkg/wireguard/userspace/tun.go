package userspace

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// makeTun makes a tun device in the calling thread's network namespace. It lives as
// long as somebody holds its file.
func makeTun(name string) (*os.File, error) {
	const device = "/dev/net/tun"
	fd, err := unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("make tun device %s: there is no %s: load the module tun, or a kernel with WireGuard", name, device)
	}
	if err != nil {
		return nil, fmt.Errorf("make tun device %s: open %s: %w", name, device, err)
	}
	request, err := unix.NewIfreq(name)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make tun device %q: %w", name, err), unix.Close(fd))
	}
	// IFF_VNET_HDR lets the kernel hand over what it has not cut into packets yet.
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR | unix.IFF_TUN_EXCL)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return nil, errors.Join(fmt.Errorf("make tun device %s: %w", name, err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), device), nil
}
