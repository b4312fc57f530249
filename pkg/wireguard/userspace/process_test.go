package userspace

import (
	"bytes"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/test/testenv"
)

var quietly = slog.New(slog.DiscardHandler)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Somebody who starts the process by hand is told that the daemon does.
func TestStartedByHand(t *testing.T) {
	testenv.RequireRoot(t)
	out, err := exec.Command(testenv.Zosnet(t), "wg").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "the daemon starts it") {
		t.Errorf("said %q, %v", out, err)
	}
}

// What cannot start is an error that says why, and no wait.
func TestCannotStart(t *testing.T) {
	testenv.RequireRoot(t)
	p, err := Open(Options{Dir: t.TempDir(), Command: []string{"/bin/sh", "-c", "echo it is broken >&2; exit 3"}, Log: quietly})
	check(t, err)
	err = p.create("zwtest")
	if err == nil || !strings.Contains(err.Error(), "it is broken") {
		t.Errorf("error %v", err)
	}
}

// With no process there is nothing to list and nothing to remove.
func TestNoProcess(t *testing.T) {
	testenv.RequireRoot(t)
	p, err := Open(Options{Dir: t.TempDir(), Log: quietly})
	check(t, err)
	if names, err := p.List(); err != nil || len(names) != 0 {
		t.Error(names, err)
	}
	check(t, p.Remove("zwtest"))
	check(t, Stop(p.dir))
	check(t, Stop(p.dir+"/none"))
	if err := p.Start("zwtest"); err == nil {
		t.Error("a device without a process was started")
	}
}

// A process of another version answers what it does not know with an error.
func TestOrders(t *testing.T) {
	p := &process{log: quietly, devices: map[string]*carrier{"zwtest": {name: "zwtest"}}, empty: make(chan struct{})}
	for name, test := range map[string]struct {
		order
		says string
	}{
		"of a later version": {order{Version: version + 1, Op: "dance", Name: "zwtest"}, "older than the daemon"},
		"no such device":     {order{Version: version, Op: opStart, Name: "zwother"}, "no device zwother"},
		"without files":      {order{Version: version, Op: opAdd, Name: "zwother"}, "0 files"},
		"a list":             {order{Version: version, Op: opList}, ""},
	} {
		near, far := pair(t)
		go p.serve(far)
		check(t, send(near, test.order))
		var a answer
		_, err := receive(near, &a)
		check(t, err)
		if (a.Error == "") != (test.says == "") || !strings.Contains(a.Error, test.says) {
			t.Errorf("%s: answered %q, want %q", name, a.Error, test.says)
		}
		if test.Op == opList && (len(a.Devices) != 1 || a.Devices[0] != "zwtest") {
			t.Errorf("%s: %q", name, a.Devices)
		}
	}
}

// What is no order ends the connection, and nothing else.
func TestNoOrder(t *testing.T) {
	p := &process{log: quietly, devices: map[string]*carrier{}, empty: make(chan struct{})}
	for _, text := range []string{"", "{", "[]", strings.Repeat("x", largestMessage+1)} {
		near, far := pair(t)
		done := make(chan struct{})
		go func() { p.serve(far); close(done) }()
		_, _ = near.Write([]byte(text)) // the longest is refused at once
		_ = near.Close()
		<-done
	}
}

// Files that come with an order are closed, also one that is not taken.
func TestFilesAreClosed(t *testing.T) {
	p := &process{log: quietly, devices: map[string]*carrier{}, empty: make(chan struct{})}
	read, write, err := os.Pipe()
	check(t, err)
	near, far := pair(t)
	go p.serve(far)
	check(t, send(near, order{Version: version, Op: opAdd, Name: "zwtest"}, write))
	var a answer
	_, err = receive(near, &a)
	check(t, err)
	check(t, write.Close())
	if n, err := read.Read(make([]byte, 1)); n != 0 || err == nil { // the end: nobody holds the other side
		t.Error(n, err)
	}
}

func pair(t *testing.T) (near, far *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	check(t, err)
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "pair")
		conn, err := net.FileConn(file)
		check(t, err)
		_ = file.Close()
		ends[i] = conn.(*net.UnixConn)
		t.Cleanup(func() { _ = conn.Close() })
	}
	return ends[0], ends[1]
}

// A daemon that starts removes the sockets that nobody listens on, and no others.
func TestStaleSockets(t *testing.T) {
	testenv.RequireRoot(t)
	check(t, os.MkdirAll(uapiDir, 0o755))
	name := "zt-" + filepath.Base(filepath.Dir(t.TempDir()))
	name = "zt-" + name[max(0, len(name)-8):]
	dead, alive := uapiPath(name+"-d"), uapiPath(name+"-a")
	for _, path := range []string{dead, alive} {
		file, err := listen("unix", path)
		check(t, err)
		t.Cleanup(func() { _ = file.Close(); _ = os.Remove(path) })
		if path == dead {
			check(t, file.Close())
		}
	}
	var out bytes.Buffer
	_, err := Open(Options{Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(&out, nil))})
	check(t, err)
	if _, err := os.Stat(dead); err == nil {
		t.Error("the dead one is there")
	}
	if _, err := os.Stat(alive); err != nil {
		t.Errorf("the live one: %v", err)
	}
	if !strings.Contains(out.String(), dead) || strings.Contains(out.String(), alive) {
		t.Errorf("logged %q", out.String())
	}
}
