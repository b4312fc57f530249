package device

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/test/probe"
)

// carrier is the process that carries for a node: who holds its lock.
func (n *node) carrier() int {
	n.scene.t.Helper()
	lock := filepath.Join(n.dir, "wireguard", "wg.lock")
	found, err := filepath.Glob("/proc/[0-9]*/fd/4")
	check(n.scene.t, err)
	for _, path := range found {
		if target, err := os.Readlink(path); err == nil && target == lock {
			pid, err := strconv.Atoi(strings.Split(path, "/")[2])
			check(n.scene.t, err)
			return pid
		}
	}
	n.scene.t.Fatalf("no process carries for %s", n.Name)
	return 0
}

// killCarrier kills the process and waits until all it held is free. It gives the
// socket of its device, which nobody listens on any more.
func (n *node) killCarrier() (socket string) {
	n.scene.t.Helper()
	check(n.scene.t, unix.Kill(n.carrier(), unix.SIGKILL))
	socket = "/var/run/wireguard/" + n.link(0) + ".sock"
	eventually(n.scene.t, "the process to die", func() bool {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			_ = conn.Close()
		}
		return errors.Is(err, unix.ECONNREFUSED) && runOn(n.Machine, "ip link show "+n.link(0)) != nil
	})
	return socket
}

// The process has no privilege, no parent, and nothing open of the daemon's.
func TestProcessIsBare(t *testing.T) {
	s := newScene(t, 1, true)
	a := s.nodes[0]
	a.apply(a.device())
	pid := a.carrier()
	status := statusOfProcess(t, pid)
	for key, want := range map[string]string{
		"CapInh": zeroes, "CapPrm": zeroes, "CapEff": zeroes, "CapAmb": zeroes, "NoNewPrivs": "1",
		"Uid": "60820 60820 60820 60820", "Gid": "60820 60820 60820 60820", "Groups": "",
	} {
		if status[key] != want {
			t.Errorf("%s is %q, want %q", key, status[key], want)
		}
	}
	if parent := status["PPid"]; parent == strconv.Itoa(os.Getpid()) {
		t.Error("it is a child of the daemon")
	}
	if session, err := unix.Getsid(pid); err != nil || session != pid {
		t.Errorf("its session is %d, %v", session, err)
	}
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	check(t, err)
	for _, file := range files {
		target, err := os.Readlink(file)
		own := strings.HasPrefix(target, a.dir) || target == "/dev/null" || target == "/dev/net/tun" ||
			strings.HasPrefix(target, "/sys/fs/cgroup/") // Go's runtime looks at its share of the CPUs
		if err == nil && strings.HasPrefix(target, "/") && !own {
			t.Errorf("it has %s open", target)
		}
	}
	environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	check(t, err)
	if len(environment) != 0 {
		t.Errorf("its environment is %q", environment)
	}
}

// The UDP sockets hold what comes while the process does not run, also those that a
// change of the port opens.
func TestSocketsHaveRoom(t *testing.T) {
	s := newScene(t, 1, true)
	a := s.nodes[0]
	for _, port := range []uint16{21001, 21050} {
		a.port = port
		a.apply(a.device())
		var rooms []int
		eventually(t, "the process to close the copies that it gave", func() bool {
			rooms = a.rooms(port)
			return len(rooms) == 2
		})
		if rooms[0] < 14<<20 || rooms[1] < 14<<20 { // the kernel doubles what is set (socket(7))
			t.Errorf("port %d: rooms of %d bytes; want 14 MB", port, rooms)
		}
	}
}

// rooms gives the receive buffers of the process's sockets on a port.
func (n *node) rooms(port uint16) (rooms []int) {
	n.scene.t.Helper()
	t := n.scene.t
	pid := n.carrier()
	process, err := unix.PidfdOpen(pid, 0)
	check(t, err)
	defer func() { _ = unix.Close(process) }()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	check(t, err)
	for _, file := range files {
		number, err := strconv.Atoi(filepath.Base(file))
		check(t, err)
		fd, err := unix.PidfdGetfd(process, number, 0)
		if err != nil {
			continue // closed meanwhile
		}
		address, err := unix.Getsockname(fd)
		room, roomErr := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
		_ = unix.Close(fd)
		if err != nil || roomErr != nil {
			continue
		}
		switch at := address.(type) {
		case *unix.SockaddrInet4:
			if at.Port == int(port) {
				rooms = append(rooms, room)
			}
		case *unix.SockaddrInet6:
			if at.Port == int(port) {
				rooms = append(rooms, room)
			}
		}
	}
	return rooms
}

const zeroes = "0000000000000000"

// statusOfProcess gives the fields of /proc/PID/status (proc(5)).
func statusOfProcess(t *testing.T, pid int) map[string]string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	check(t, err)
	status := map[string]string{}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		status[key] = strings.Join(strings.Fields(value), " ")
	}
	return status
}

// A process that dies takes its links along; the next Apply makes all anew, also
// past the socket that it has left.
func TestProcessDies(t *testing.T) {
	s := newScene(t, 2, true)
	a, b := s.nodes[0], s.nodes[1]
	s.join()
	a.reaches(b)
	a.killCarrier()
	if got := a.apply(a.device(b)); len(got) == 0 || got[0] != "created" {
		t.Errorf("Apply changed %q", got)
	}
	a.route(b, a.link(0))
	a.reaches(b)

	socket := a.killCarrier()
	if _, err := os.Stat(socket); err != nil {
		t.Fatalf("the dead process's socket should be there: %v", err)
	}
	a.open()
	if _, err := os.Stat(socket); err == nil {
		t.Error("the next daemon left the dead process's socket")
	}
}

// A configuration socket that somebody removes is made again, and no packet lost.
func TestSocketRemoved(t *testing.T) {
	s := newScene(t, 2, true)
	a, b := s.nodes[0], s.nodes[1]
	s.join()
	a.reaches(b)
	stream, err := probe.StartSequence(t.Context(), a.Machine, b.Machine, addrPort(b, 7000), 1000)
	check(t, err)
	check(t, os.Remove("/var/run/wireguard/"+a.link(0)+".sock"))
	if got := a.apply(a.device(b)); len(got) != 1 {
		t.Errorf("Apply changed %q, want the socket", got)
	}
	if got := a.apply(a.device(b)); got != nil {
		t.Errorf("then Apply changed %q", got)
	}
	awaitMore(t, stream, 100)
	lossless(t, stream, 100)
}

// A link that somebody deletes is made again.
func TestLinkDeleted(t *testing.T) {
	s := newScene(t, 2, true)
	a, b := s.nodes[0], s.nodes[1]
	s.join()
	a.run("ip link del %s", a.link(0))
	a.apply(a.device(b))
	a.route(b, a.link(0))
	a.reaches(b)
	if got := a.apply(a.device(b)); got != nil {
		t.Errorf("then Apply changed %q", got)
	}
}

// A link of that name which is another's is not touched.
func TestForeignLink(t *testing.T) {
	s := newScene(t, 1, true)
	a := s.nodes[0]
	a.run("ip tuntap add mode tun name %s", a.link(0))
	err := a.Do(func() error { _, err := a.devices.Apply(a.device()); return err })
	if err == nil || !strings.Contains(err.Error(), "rename or remove it") {
		t.Errorf("error %v", err)
	}
	a.run("ip link del %s", a.link(0))
}
