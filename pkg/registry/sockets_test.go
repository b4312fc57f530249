package registry

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestListensOnOneUnixSocketOnly looks at every socket of this process in the
// kernel's own tables.
func TestListensOnOneUnixSocketOnly(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	put(t, s, "acme", "web")
	socket := filepath.Join(dir, "etcd/client.sock")
	if conn, err := net.Dial("unix", socket); err != nil {
		t.Errorf("etcdctl could not connect: %v", err)
	} else {
		_ = conn.Close()
	}
	inodes := socketInodes(t)
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6", "udplite", "raw", "raw6", "packet"} {
		for _, line := range tableOf(t, table) {
			for _, field := range strings.Fields(line) {
				if inodes[field] {
					t.Errorf("a %s socket: %s", table, line)
				}
			}
		}
	}
	var named []string
	for _, line := range tableOf(t, "unix") { // Num RefCount Protocol Flags Type St Inode Path
		if f := strings.Fields(line); len(f) == 8 && inodes[f[6]] {
			named = append(named, f[7])
		}
	}
	for _, path := range named { // an abstract one would begin with @
		if path != socket {
			t.Errorf("a unix socket at %s", path)
		}
	}
	if len(named) == 0 {
		t.Error("no unix socket at all")
	}
	closeStore(t, s)
	if _, err := os.Lstat(socket); !os.IsNotExist(err) {
		t.Errorf("the socket stays after close: %v", err)
	}
}

// socketInodes are the inode numbers of this process's sockets.
func socketInodes(t *testing.T) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		var inode string
		target, err := os.Readlink("/proc/self/fd/" + fd.Name())
		if err != nil {
			continue // the descriptor that ReadDir had
		}
		if n, _ := fmt.Sscanf(target, "socket:[%s", &inode); n == 1 {
			out[strings.TrimSuffix(inode, "]")] = true
		}
	}
	return out
}

// tableOf gives the lines of /proc/self/net/NAME, none when there is no such table.
func tableOf(t *testing.T, name string) []string {
	t.Helper()
	raw, err := os.ReadFile("/proc/self/net/" + name)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(raw), "\n")[1:]
}
