package docs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/testenv"
)

const (
	commandTime  = 2 * time.Minute                               // that one command of a page may take
	stopCommand  = "systemctl disable --now zosnet zosnet-early" // a lab has no units; its daemon is stopped
	watchingTime = 3 * time.Second                               // that a command runs which the page interrupts, and
	shownTime    = time.Minute                                   // at most until it has printed what is shown
)

// command is one line of a console block, with what the page shows of its output.
type command struct {
	line      int    // in the page
	machine   string // where it is typed, in a block of several machines
	text      string
	shown     []string
	status    int
	interrupt bool
}

// prompt is how a line with a command begins: in a block of several machines with the
// name of one.
var prompt = map[string]*regexp.Regexp{
	"console":  regexp.MustCompile(`^()# (.*)$`),
	"machines": regexp.MustCompile(`^([a-z0-9]+)# (.*)$`),
}

// commands reads a console block. A line that begins with a prompt is a command; what
// follows is its output, "(exit status N)", or "^C" where it is interrupted. A line
// of comment within it is none.
func (b block) commands() (all []command) {
	for i, line := range strings.Split(strings.TrimSuffix(b.text, "\n"), "\n") {
		if found := prompt[b.kind].FindStringSubmatch(line); found != nil {
			all = append(all, command{line: b.line + 1 + i, machine: found[1], text: found[2]})
			continue
		}
		last := &all[len(all)-1]
		status := regexp.MustCompile(`^\(exit status (\d+)\)$`).FindStringSubmatch(line)
		switch {
		case status != nil:
			last.status, _ = strconv.Atoi(status[1])
		case line == "^C":
			last.interrupt = true
		default:
			last.shown = append(last.shown, line)
		}
	}
	return all
}

// console is a node on which a page's commands are run, one after the other.
type console struct {
	lab    *lab.Lab
	daemon *lab.Daemon
	dir    string // with the files that the page shows
	bin    string // with zosnet in it
}

// TestCommands runs every command of every page, in order, on a node of its own for
// each page, and compares what is printed with what is shown.
func TestCommands(t *testing.T) {
	testenv.RequireBPF(t)
	for _, tool := range []string{"bpftool", "tcpdump", "curl"} {
		testenv.RequireTool(t, tool)
	}
	zosnet := testenv.Zosnet(t)
	for _, page := range pages(t) {
		if !slices.ContainsFunc(blocks(t, page), func(b block) bool { return b.kind == "console" }) {
			continue
		}
		t.Run(filepath.Base(page), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // most of it for other labs to end
			defer cancel()
			c := newConsole(t, ctx, zosnet)
			for _, b := range blocks(t, page) {
				if file, ok := b.file(); ok && b.kind == "yaml" {
					write(t, filepath.Join(c.dir, file), b.text)
				}
				if b.kind == "console" {
					for _, cmd := range b.commands() {
						c.check(t, ctx, page, cmd)
					}
				}
			}
		})
	}
}

func newConsole(t *testing.T, ctx context.Context, zosnet string) *console {
	t.Helper()
	c := &console{dir: t.TempDir(), bin: t.TempDir()}
	if err := os.Symlink(zosnet, filepath.Join(c.bin, "zosnet")); err != nil {
		t.Fatal(err)
	}
	var err error
	if c.lab, err = lab.New(ctx, lab.Config{Name: "docs", Zosnet: zosnet, NodeDocument: fmt.Sprintf("endpoint: %s\n", lab.NodeIPv4)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.lab.Close(); err != nil {
			t.Error(err)
		}
	})
	if c.daemon, err = c.lab.StartDaemon(ctx); err != nil {
		t.Fatal(err)
	}
	return c
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// inLab puts the lab's paths in the place of a node's.
func (c *console) inLab(text string) string {
	return strings.NewReplacer(
		"/sys/fs/bpf/zosnet", c.lab.Path("bpf"),
		"/run/zosnet/", c.lab.Path("run")+"/",
		"/etc/zosnet/node.yaml", c.lab.Path("node.yaml"),
	).Replace(text)
}

// check runs a command and compares.
func (c *console) check(t *testing.T, ctx context.Context, page string, want command) {
	t.Helper()
	if want.text == stopCommand {
		if err := c.daemon.Stop(); err != nil {
			t.Errorf("%s:%d: %s: %v", page, want.line, want.text, err)
		}
		return
	}
	out, status, err := c.run(ctx, want)
	if err != nil {
		t.Errorf("%s:%d: %s: %v\n%s", page, want.line, want.text, err, out)
		return
	}
	if status != want.status {
		t.Errorf("%s:%d: %s: exit status %d, the page says %d\n%s", page, want.line, want.text, status, want.status, out)
	}
	if strings.HasPrefix(want.text, "bpftool map") {
		if missing, extra := compareFields(strings.Join(want.shown, "\n"), out); len(missing)+len(extra) > 0 {
			t.Errorf("%s:%d: %s: the page lacks the fields %v and has %v too many", page, want.line, want.text, missing, extra)
		}
		return
	}
	if line := unseen(want.shown, out); line != "" {
		t.Errorf("%s:%d: %s: the page shows the line\n%s\nwhich is not (or not there) in\n%s", page, want.line, want.text, line, out)
	}
}

// run runs a command by a shell on the node, where it finds zosnet and the page's
// files. While one that is interrupted runs, a stranger pings the node.
func (c *console) run(ctx context.Context, want command) (out string, status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	cmd := c.lab.Node.Command(ctx, "sh", "-c", "exec 2>&1; "+execLast(c.inLab(want.text)))
	cmd.Dir = c.dir
	cmd.Env = append(cmd.Env, "PATH="+c.bin+":"+os.Getenv("PATH"))
	cmd.WaitDelay = time.Second
	var printed transcript
	cmd.Stdout = &printed
	if err := cmd.Start(); err != nil {
		return "", 0, err
	}
	if want.interrupt {
		began := time.Now()
		for time.Since(began) < watchingTime || time.Since(began) < shownTime && unseen(want.shown, printed.String()) != "" {
			_, _ = c.lab.Outside.Run(ctx, "ping", "-c1", "-W1", lab.NodeIPv6.String())
		}
		if err := cmd.Process.Signal(unix.SIGINT); err != nil {
			return printed.String(), 0, err
		}
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return printed.String(), exit.ExitCode(), nil
	}
	return printed.String(), 0, err
}

// transcript is what a command has printed, also while it runs.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (p *transcript) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(text)
}

func (p *transcript) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// execLast lets the command take the shell's place, so that it gets the signals,
// unless it is more than one.
func execLast(text string) string {
	if strings.ContainsAny(text, "|;&") {
		return text
	}
	return "exec " + text
}

// unseen gives the first shown line that does not come in the output, in order; ""
// when all do. Spaces count as one; … stands for anything.
func unseen(shown []string, out string) string {
	lines := strings.Split(out, "\n")
	next := 0
	for _, show := range shown {
		pattern := regexp.QuoteMeta(squeeze(show))
		match := regexp.MustCompile("^" + strings.ReplaceAll(pattern, "…", ".*") + "$")
		for next < len(lines) && !match.MatchString(squeeze(lines[next])) {
			next++
		}
		if next == len(lines) {
			return show
		}
		next++
	}
	return ""
}

func squeeze(line string) string { return strings.Join(strings.Fields(line), " ") }

var fieldName = regexp.MustCompile(`"(\w+)":`)

// compareFields gives the names of fields that are printed and not shown, and those
// that are shown and not printed.
func compareFields(shown, printed string) (missing, extra []string) {
	names := func(text string) map[string]bool {
		set := map[string]bool{}
		for _, found := range fieldName.FindAllStringSubmatch(text, -1) {
			set[found[1]] = true
		}
		return set
	}
	show, real := names(shown), names(printed)
	for name := range real {
		if !show[name] {
			missing = append(missing, name)
		}
	}
	for name := range show {
		if !real[name] {
			extra = append(extra, name)
		}
	}
	slices.Sort(missing)
	slices.Sort(extra)
	return missing, extra
}

// TestUnseen shows what the comparison of output lets pass.
func TestUnseen(t *testing.T) {
	out := "NAME   STATE\na      up\nb      down 17 ms\n"
	for _, row := range []struct {
		shown []string
		want  string
	}{
		{nil, ""},
		{[]string{"NAME STATE", "b down … ms"}, ""},
		{[]string{"b down …", "a up"}, "a up"},
		{[]string{"a"}, "a"},
		{[]string{"a up", "a up"}, "a up"},
	} {
		if got := unseen(row.shown, out); got != row.want {
			t.Errorf("%q: %q is unseen, want %q", row.shown, got, row.want)
		}
	}
	missing, extra := compareFields(`{"a": 1, "b": 2}`, `{"b": 2, "c": 3}`)
	if fmt.Sprint(missing, extra) != "[c] [a]" {
		t.Errorf("missing %v, extra %v", missing, extra)
	}
}
