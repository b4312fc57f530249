package userspace

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// port gives the port that the device listens on.
func (c *carrier) port() (int, error) {
	text, err := c.device.IpcGet()
	if err != nil {
		return 0, fmt.Errorf("ask %s for its port: %w", c.name, err)
	}
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "listen_port="); ok {
			return strconv.Atoi(value)
		}
	}
	return 0, fmt.Errorf("%s listens on no port", c.name)
}

// udpSockets gives copies of this process's UDP sockets that are bound to a port.
// wireguard-go has no call for them.
func udpSockets(port int) ([]*os.File, error) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil, fmt.Errorf("list the files of this process: %w", err)
	}
	var sockets []*os.File
	for _, entry := range entries {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil || !boundTo(fd, port) || len(sockets) == filesInMessage {
			continue
		}
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			closeAll(sockets)
			return nil, fmt.Errorf("copy a UDP socket: %w", err)
		}
		sockets = append(sockets, os.NewFile(uintptr(dup), "udp"))
	}
	return sockets, nil
}

func boundTo(fd, port int) bool {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind != unix.SOCK_DGRAM {
		return false
	}
	address, err := unix.Getsockname(fd)
	if err != nil {
		return false
	}
	switch a := address.(type) {
	case *unix.SockaddrInet4:
		return a.Port == port
	case *unix.SockaddrInet6:
		return a.Port == port
	}
	return false
}
