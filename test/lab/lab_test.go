package lab_test

import (
	"bufio"
	"context"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/testenv"
)

func newLab(t *testing.T, config lab.Config) *lab.Lab {
	t.Helper()
	testenv.RequireRoot(t)
	testenv.RequireTool(t, "nsenter")
	l, err := lab.New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		mustBeGone(t, config.Name)
	})
	return l
}

// mustBeGone fails the test if anything is left of a lab.
func mustBeGone(t *testing.T, name string) {
	t.Helper()
	left, err := filepath.Glob("/run/netns/zl-" + name + "-*")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(lab.Dir, name)); err == nil {
		left = append(left, filepath.Join(lab.Dir, name))
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, "/zl-"+name+"-") || strings.Contains(line, lab.Dir+"/"+name+"/") {
			left = append(left, strings.TrimSpace(line))
		}
	}
	if len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// TestTopology is the map of a lab: who reaches whom with nothing in between
// but the router's kernel.
func TestTopology(t *testing.T) {
	l := newLab(t, lab.Config{Name: "topology", Friend: true, LAN: true})
	tests := []struct {
		from *lab.Machine
		to   netip.Addr
	}{
		{l.Outside, lab.NodeIPv4}, {l.Outside, lab.NodeIPv6},
		{l.Outside, lab.FriendIPv4}, {l.Outside, lab.FriendIPv6},
		{l.Friend, lab.NodeIPv4}, {l.Friend, lab.NodeIPv6},
		{l.LAN, lab.NodeIPv4}, {l.LAN, lab.NodeIPv6},
		{l.LAN, lab.OutsideIPv4}, {l.LAN, lab.OutsideIPv6},
		{l.Node, lab.RouterIPv4}, {l.Node, lab.RouterIPv6},
		{l.Node, lab.OutsideIPv4}, {l.Node, lab.OutsideIPv6},
		{l.Node, netip.MustParseAddr("127.0.0.1")}, {l.Node, netip.IPv6Loopback()},
	}
	for _, test := range tests {
		t.Run(test.from.Name+" to "+test.to.String(), func(t *testing.T) {
			out, err := test.from.Run(t.Context(), "ping", "-c1", "-W2", "-n", test.to.String())
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	t.Run("the allocation is routed to the node", func(t *testing.T) {
		out, err := l.Router.Run(t.Context(), "ip", "-6", "route", "get", "2001:db8:aaaa:7::7")
		if err != nil || !strings.Contains(out, "via "+lab.NodeIPv6.String()) {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

func TestTheMachineItselfIsNotTouched(t *testing.T) {
	testenv.RequireRoot(t)
	state := func() string {
		var all strings.Builder
		for _, command := range []string{"ip -o link", "ip -o addr", "ip route", "ip -6 route", "sysctl -a --pattern forwarding|rp_filter|disable_ipv6"} {
			words := strings.Fields(command)
			out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
			if err != nil {
				t.Fatalf("%s: %v\n%s", command, err, out)
			}
			all.Write(out)
		}
		return all.String()
	}
	before := state()
	l := newLab(t, lab.Config{Name: "untouched", Friend: true, LAN: true})
	if during := state(); during != before {
		t.Errorf("before:\n%s\nduring:\n%s", before, during)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if after := state(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

func TestCloseEndsProgramsLeftRunning(t *testing.T) {
	l := newLab(t, lab.Config{Name: "programs"})
	cmd := l.Outside.Command(context.Background(), "sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // says only that it was killed
	}()
	// nsenter enters the namespace first, and only then is it the program.
	await(t, func() bool { return commandName(cmd.Process.Pid) == "sleep" })
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		_ = cmd.Process.Kill()
		t.Error("sleep still runs")
	}
}

func commandName(pid int) string {
	text, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm"))
	return strings.TrimSpace(string(text))
}

// TestKilledProcess kills a process that has a lab up, and takes the name
// again: the new lab is whole, and nothing is left of either afterwards.
func TestKilledProcess(t *testing.T) {
	testenv.RequireRoot(t)
	const name = "killed"
	beChild(t, name)
	child := startChild(t)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if l, err := lab.New(ctx, lab.Config{Name: name}); err == nil {
		_ = l.Close()
		t.Error("two labs of one name")
	}
	kill(t, child, name)
	l := newLab(t, lab.Config{Name: name})
	if out, err := l.Outside.Run(t.Context(), "ping", "-c1", "-W2", lab.NodeIPv6.String()); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestDaemonSweeps starts a daemon after a process with another lab was
// killed: workload names are the machine's, so that lab has to go first, and
// one whose process lives has to stay.
func TestDaemonSweeps(t *testing.T) {
	testenv.RequireRoot(t)
	const name = "swept"
	beChild(t, name)
	kill(t, startChild(t), name)
	alive := newLab(t, lab.Config{Name: "alive"})
	l := newLab(t, lab.Config{Name: "sweeper", Zosnet: "/bin/true"}) // ends at once, and says all is well
	if _, err := l.StartDaemon(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustBeGone(t, name)
	if _, err := os.Stat(alive.Node.Path()); err != nil {
		t.Errorf("a lab that is in use was swept: %v", err)
	}
}

// beChild makes a lab and waits to be killed, in the process that startChild
// starts.
func beChild(t *testing.T, name string) {
	t.Helper()
	if os.Getenv("LAB_TEST_CHILD") != "1" {
		return
	}
	if _, err := lab.New(t.Context(), lab.Config{Name: name}); err != nil {
		t.Fatal(err)
	}
	_, _ = os.Stdout.WriteString("up\n")
	time.Sleep(time.Hour)
}

// startChild runs the same test in another process until it has its lab up.
func startChild(t *testing.T) *exec.Cmd {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	child.Env = append(os.Environ(), "LAB_TEST_CHILD=1")
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	child.Stderr = child.Stdout
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	from := bufio.NewReader(out)
	if said, err := from.ReadString('\n'); said != "up\n" {
		rest, _ := io.ReadAll(from)
		t.Fatalf("the child has no lab: %v\n%s%s", err, said, rest)
	}
	return child
}

// kill kills a child, and holds that it left its lab behind: else the test
// proves nothing.
func kill(t *testing.T, child *exec.Cmd, name string) {
	t.Helper()
	if err := child.Process.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	if left, _ := filepath.Glob("/run/netns/zl-" + name + "-*"); len(left) != 3 {
		t.Errorf("the killed process left %q, want its three namespaces", left)
	}
}

func TestCloseUnmounts(t *testing.T) {
	l := newLab(t, lab.Config{Name: "mounts"})
	disk := l.Path("disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 { // one over the other
		if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=1m"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestKeptLab(t *testing.T) {
	testenv.RequireRoot(t)
	const name = "kept"
	l, err := lab.New(t.Context(), lab.Config{Name: name, Keep: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lab.Remove(name) }()
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
	if again, err := lab.New(t.Context(), lab.Config{Name: name}); err == nil {
		_ = again.Close()
		t.Error("a kept lab was taken away by a new one of its name")
	}
	list, err := lab.List()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, s := range list {
		found = found || s.Name == name && s.Keep && len(s.Machines) == 3
	}
	if !found {
		t.Errorf("list %+v lacks %s", list, name)
	}
	outside, err := lab.Find(name, "outside")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := outside.Run(t.Context(), "ping", "-c1", "-W2", lab.NodeIPv4.String()); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err := lab.Find(name, "moon"); err == nil || !strings.Contains(err.Error(), "outside, router, node") {
		t.Errorf("find a machine that is not there: %v, want the names of those that are", err)
	}
	if err := lab.Remove(name); err != nil {
		t.Error(err)
	}
	mustBeGone(t, name)
	if err := lab.Remove(name); err == nil {
		t.Error("removed twice")
	}
}

func TestHalfMadeLab(t *testing.T) {
	testenv.RequireRoot(t)
	const name = "half"
	// The name of its third namespace is taken.
	taken := "/run/netns/zl-" + name + "-node"
	if err := os.WriteFile(taken, nil, 0o444); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.Remove(taken) }()
	l, err := lab.New(t.Context(), lab.Config{Name: name})
	if err == nil {
		_ = l.Close()
		t.Fatal("made a lab over a name that is taken")
	}
	_ = os.Remove(taken)
	mustBeGone(t, name)
}

func TestBadName(t *testing.T) {
	for _, name := range []string{"", "A", "a/b", "../x", strings.Repeat("a", 21)} {
		if l, err := lab.New(t.Context(), lab.Config{Name: name}); err == nil {
			_ = l.Close()
			t.Errorf("%q was accepted", name)
		}
		if err := lab.Remove(name); err == nil {
			t.Errorf("remove %q was accepted", name)
		}
	}
}

func await(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); {
		if time.Now().After(deadline) {
			t.Fatal("waited ten seconds in vain")
		}
		time.Sleep(2 * time.Millisecond)
	}
}
