package node

import (
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
	"github.com/zosnet/zosnet/test/testenv"
)

// The exit statuses that scripts rely on.
const (
	exitFailed      = 1
	exitBadInput    = 2
	exitUnreachable = 3
)

// fails runs a zosnet command that must fail with this status, and returns
// what it said.
func (n *node) fails(code int, args ...string) string {
	n.t.Helper()
	out, err := n.daemon.CLI(n.t.Context(), args...)
	var failure *lab.Failure
	if !errors.As(err, &failure) {
		n.t.Errorf("zosnet %s: %v %q, want exit status %d", strings.Join(args, " "), err, out, code)
		return ""
	}
	if failure.Code != code {
		n.t.Errorf("zosnet %s: exit status %d, want %d: %s", strings.Join(args, " "), failure.Code, code, failure.Stderr)
	}
	return failure.Stderr
}

// stillEnforced is what must hold after every accident: red's rules as they
// were, and a host that nobody sees.
func (n *tenants) stillEnforced() {
	n.t.Helper()
	together(
		func() { n.connects(n.Outside, at(n.web, webPort), probe.Answered) },
		func() { n.connects(n.Outside, at(n.db, dbPort), probe.Silent) },
		func() { n.connects(n.Outside, netip.AddrPortFrom(lab.NodeIPv6, 22), probe.Silent) },
		func() { n.pings(n.Outside, lab.NodeIPv4, probe.Silent) },
	)
}

func startServing(t *testing.T, config lab.Config) *tenants {
	t.Helper()
	n := startTenants(t, config)
	n.serve(n.web.Machine, at(n.web, webPort))
	n.serve(n.db.Machine, at(n.db, dbPort))
	n.serve(n.Node, everywhere(22))
	return n
}

func TestBadDocuments(t *testing.T) {
	n := startServing(t, lab.Config{})
	open := strings.Replace(red, "inbound: deny", "inbound: allow", 1)
	bomb := "network: red\nnodes: [n1]\nservices: &a {web: {}}\n"
	for level := 'b'; level < 'z'; level++ {
		bomb += string(level) + ": &" + string(level) + " [" + strings.Repeat("*"+string(level-1)+", ", 9) + "]\n"
	}
	for name, document := range map[string]struct {
		text string
		says []string // what the message must name
	}{
		"unknown key":         {open + "colour: green\n", []string{":11:1", "colour"}},
		"duplicate key":       {open + "services: {}\n", []string{":11:1", "services"}},
		"bad CIDR":            {strings.Replace(open, "to: db", "to: 1.2.3.4/99", 1), []string{":8:", "1.2.3.4/99"}},
		"ports upside down":   {strings.Replace(open, "tcp/5432, ", "tcp/90-80, ", 1), []string{":8:", "90-80"}},
		"unknown service":     {strings.Replace(open, "to: db", "to: cache", 1), []string{":8:", "cache"}},
		"several at once":     {strings.Replace(open, "to: db", "to: cache", 1) + "colour: green\n", []string{"cache", "colour"}},
		"half-written":        {open[:len(open)*2/3], nil},
		"empty":               {"", nil},
		"not YAML":            {"\x00\x01\x02\xff\xfe", nil},
		"a bomb":              {bomb, nil},
		"IPv4 exposure":       {strings.Replace(open, "service: web,", "service: web, ipv4: auto,", 1), []string{"not yet"}},
		"a reserved name":     {strings.Replace(open, "network: red", "network: any", 1), []string{"any"}},
		"a path for a name":   {strings.Replace(open, "network: red", "network: ../red", 1), []string{"../red"}},
		"very long":           {open + "# " + strings.Repeat("x", 64<<20) + "\n", nil},
		"deeply nested":       {open + "rules: " + strings.Repeat("[", 100_000) + "\n", nil},
		"rules without sides": {strings.Replace(open, "{from: web, to: db, ports: [tcp/5432, tcp/9000, udp/9000]}", "[]", 1), []string{":8:"}},
	} {
		t.Run(name, func(t *testing.T) {
			n := n.inTest(t)
			path := filepath.Join(t.TempDir(), "red.yaml")
			if err := os.WriteFile(path, []byte(document.text), 0o600); err != nil {
				t.Fatal(err)
			}
			said := n.fails(exitBadInput, "apply", "-f", path)
			if !strings.Contains(said, "red.yaml") {
				t.Errorf("the message names no file: %s", said)
			}
			for _, want := range document.says {
				if !strings.Contains(said, want) {
					t.Errorf("the message lacks %q: %s", want, said)
				}
			}
			if len(said) > 100_000 {
				t.Errorf("a message of %d bytes", len(said))
			}
		})
	}
	// Each of those that can be read at all opens db, and none is followed by a good one.
	n.connects(n.Outside, at(n.db, dbPort), probe.Silent)
	t.Run("a good one beside a bad one", func(t *testing.T) {
		n := n.inTest(t)
		good, bad := filepath.Join(t.TempDir(), "good.yaml"), filepath.Join(t.TempDir(), "bad.yaml")
		for path, text := range map[string]string{good: open, bad: "network: 7\n"} {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		n.fails(exitBadInput, "apply", "-f", good, "-f", bad)
		n.stillEnforced()
	})
	t.Run("a file that is not there", func(t *testing.T) {
		if said := n.inTest(t).fails(exitBadInput, "apply", "-f", "/nowhere/red.yaml"); !strings.Contains(said, "/nowhere/red.yaml") {
			t.Errorf("the message names no file: %s", said)
		}
	})
}

func TestExitStatus(t *testing.T) {
	n := startServing(t, lab.Config{})
	n.fails(exitBadInput, "no-such-verb")
	n.fails(exitBadInput, "attach", "--network", "red")
	n.fails(exitFailed, "network", "show", "green")
	n.fails(exitFailed, "attach", "--network", "red", "--service", "db", "--name", "web-1") // it is a web
	n.fails(exitFailed, "delete", "red")                                                    // it has attachments
	n.stillEnforced()
	if err := n.daemon.Kill(); err != nil {
		t.Fatal(err)
	}
	said := n.fails(exitUnreachable, "status")
	if !strings.Contains(said, n.Path("run/zosnet.sock")) {
		t.Errorf("the message does not say where it looked: %s", said)
	}
	n.stillEnforced()
}

// refuses starts the daemon in a way in which it must give up, and returns
// what it said about it.
func (n *node) refuses() string {
	n.t.Helper()
	before, _ := os.ReadFile(n.daemon.Log())
	if err := n.daemon.Launch(); err != nil {
		n.t.Fatal(err)
	}
	select {
	case <-n.daemon.Exited():
	case <-time.After(20 * time.Second):
		n.t.Error("the daemon runs on")
		_ = n.daemon.Kill()
	}
	if n.daemon.ExitCode() == 0 {
		n.t.Error("the daemon ended with status 0")
	}
	after, err := os.ReadFile(n.daemon.Log())
	if err != nil {
		n.t.Fatal(err)
	}
	return string(after[len(before):])
}

// TestBadNodeDocument starts the daemon with node documents that it must
// refuse: what was enforced stays.
func TestBadNodeDocument(t *testing.T) {
	n := startServing(t, lab.Config{})
	if err := n.daemon.Kill(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(n.daemon.Config())
	if err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]struct{ add, says string }{
		"unknown key":      {"colour: green\n", "colour"},
		"exit point":       {"exitPoint: {tunnels: true}\n", "not yet"},
		"another registry": {"registry: {endpoints: [\"https://192.0.2.7:2379\"]}\n", "without all of ca"},
		"bad failsafe":     {"lockdown: {allow: [{from: 1.2.3.4/33, ports: [tcp/22]}]}\n", "1.2.3.4/33"},
	} {
		t.Run(name, func(t *testing.T) {
			n := n.inTest(t)
			if err := os.WriteFile(n.daemon.Config(), append(slices.Clone(good), edit.add...), 0o644); err != nil {
				t.Fatal(err)
			}
			if said := n.refuses(); !strings.Contains(said, edit.says) || !strings.Contains(said, "node.yaml") {
				t.Errorf("it does not name node.yaml and %q: %s", edit.says, said)
			}
			n.stillEnforced()
		})
	}
	if err := os.WriteFile(n.daemon.Config(), good, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := n.daemon.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.stillEnforced()
}

// TestTwoDaemons starts a second daemon on the state of the first: it gives
// up and says why, and the first does not notice.
func TestTwoDaemons(t *testing.T) {
	n := startServing(t, lab.Config{})
	second := n.Node.Command(t.Context(), testenv.Zosnet(t), "daemon", "--config", n.daemon.Config())
	done := make(chan struct{})
	var out []byte
	var err error
	go func() { defer close(done); out, err = second.CombinedOutput() }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		_ = second.Process.Kill()
		<-done
		t.Fatalf("the second daemon runs on:\n%s", out)
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Errorf("the second daemon ended with %v:\n%s", err, out)
	}
	if !strings.Contains(string(out), n.Path("state")) {
		t.Errorf("it does not name the state directory:\n%s", out)
	}
	if _, err := n.daemon.Status(t.Context()); err != nil {
		t.Errorf("the first: %v", err)
	}
	n.stillEnforced()
}

// TestMissingCapability starts the daemon without the right to use BPF.
func TestMissingCapability(t *testing.T) {
	testenv.RequireTool(t, "setpriv")
	n := startServing(t, lab.Config{})
	if err := n.daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	cmd := n.Node.Command(t.Context(), "setpriv", "--bounding-set=-bpf,-sys_admin", "--inh-caps=-bpf,-sys_admin",
		testenv.Zosnet(t), "daemon", "--config", n.daemon.Config())
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Errorf("it ended with %v:\n%s", err, out)
	}
	if !strings.Contains(string(out), "CAP_BPF") {
		t.Errorf("it does not name CAP_BPF:\n%s", out)
	}
	n.stillEnforced()
}

// TestFullDisk fills the daemon's disk: an apply fails and says so, the old
// rules stay, and space makes it work again.
func TestFullDisk(t *testing.T) {
	n := unstarted(t, lab.Config{})
	state := n.Path("state")
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", state, "tmpfs", 0, "size=300m"); err != nil {
		t.Fatal(err)
	}
	daemon, err := n.StartDaemon(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n.daemon = daemon
	n.apply(red)
	web := n.attach("red", "web", "web-1")
	n.serve(web.Machine, at(web, webPort))
	filler := filepath.Join(state, "filler")
	fill(t, filler)
	// etcd writes into space that it holds already, so it may take a while.
	var failure *lab.Failure
	for i := range 3000 {
		text := red + "# " + strings.Repeat("x", 60_000) + "\n"
		if i%2 == 0 {
			text = strings.Replace(text, "udp/53", "udp/54", 1)
		}
		if err := daemon.Apply(t.Context(), text); err != nil {
			if !errors.As(err, &failure) {
				t.Fatal(err)
			}
			break
		}
	}
	if failure == nil {
		t.Fatal("the disk never became full")
	}
	if !strings.Contains(failure.Stderr, "space") || !strings.Contains(failure.Stderr, state) {
		t.Errorf("the message does not say that %s is full: %s", state, failure.Stderr)
	}
	n.connects(n.Outside, at(web, webPort), probe.Answered)
	n.connects(n.Outside, netip.AddrPortFrom(lab.NodeIPv6, 22), probe.Silent)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := daemon.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := daemon.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.apply(strings.Replace(red, "[tcp/80, udp/53]", "[tcp/443]", 1))
	n.connects(n.Outside, at(web, webPort), probe.Silent)
}

// fill writes until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	for block := make([]byte, 1<<20); ; {
		if _, err := file.Write(block); errors.Is(err, unix.ENOSPC) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
