package grid_test

import (
	"bytes"
	"debug/elf"
	"debug/gosym"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/test/testenv"
)

// toTime is what time.Now adds to Unix seconds to have them in its own form: a
// constant in its code. Its monotonic clock is another number.
const toTime = 62135596800 - 59453308800 // from the year 1 to 1970, from 1 to 1885

// clockOff gives a copy of zosnet whose wall clock is off by a whole number of
// seconds, and nothing else: Linux has no namespace for that clock, so the constant in
// time.Now is another one. All that asks for the time asks there: certificates, TLS,
// serials, leases, WireGuard's timestamps.
func clockOff(t *testing.T, by time.Duration) string {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		return testenv.Zosnet(t) // whose code is written otherwise: what follows is proven without it
	}
	text, err := os.ReadFile(testenv.Zosnet(t))
	check(t, err)
	place, size := codeOf(t, text, "time.Now")
	code := text[place : place+size]
	was := binary.LittleEndian.AppendUint32(nil, uint32(toTime))
	before, after, found := bytes.Cut(code, was)
	if !found || bytes.Contains(after, was) {
		t.Fatal("time.Now has its constant not once")
	}
	binary.LittleEndian.PutUint32(code[len(before):], uint32(toTime+int64(by/time.Second)))
	dir, err := os.MkdirTemp("", "gi")
	check(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	file := filepath.Join(dir, "zosnet")
	check(t, os.WriteFile(file, text, 0o755)) // the WireGuard process is somebody else's
	check(t, os.Chmod(dir, 0o755))
	return file
}

// codeOf gives where in a program's file the code of a function is: by the table that
// Go's runtime needs, which a stripped program has too.
func codeOf(t *testing.T, program []byte, function string) (place, size uint64) {
	t.Helper()
	file, err := elf.NewFile(bytes.NewReader(program))
	check(t, err)
	text := file.Section(".text")
	lines, err := file.Section(".gopclntab").Data()
	check(t, err)
	table, err := gosym.NewTable(nil, gosym.NewLineTable(lines, text.Addr))
	check(t, err)
	f := table.LookupFunc(function)
	if f == nil {
		t.Fatalf("there is no function %s in it", function)
	}
	return f.Entry - text.Addr + text.Offset, f.End - f.Entry
}

// TestClockPutBack: a node that was stopped, lost its sessions and has its clock put back is
// in the registry again long before a member's end of their session has ended (180 s): the
// node began it, so the member would change its keys no earlier.
func TestClockPutBack(t *testing.T) {
	t.Parallel()
	nodes := newNodes(t, 2)
	member, other := nodes[0], nodes[1]
	other.Program = clockOff(t, day)
	for _, n := range nodes {
		n.start()
	}
	member.place("grid", "init")
	other.place("grid", "join", member.token())
	other.followsRegistry()
	other.stop(unix.SIGTERM)
	other.killCarriers()
	other.Program = ""
	other.start()
	other.followsRegistry()
}
