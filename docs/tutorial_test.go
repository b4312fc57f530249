package docs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/testenv"
)

// powers are commands that start and end a node's daemon; a lab has no units.
var powers = map[string]func(context.Context, *reader, *lab.Node) error{
	"systemctl enable --now zosnet-early zosnet": start,
	"systemctl start zosnet":                     start,
	"systemctl restart zosnet":                   func(ctx context.Context, _ *reader, n *lab.Node) error { return n.Restart(ctx) },
	"poweroff":                                   func(_ context.Context, _ *reader, n *lab.Node) error { return n.Stop() },
}

func start(ctx context.Context, r *reader, n *lab.Node) error { return r.grid.StartNode(ctx, n) }

// ofMachine are commands that a lab's machine, which is a namespace, would pass on to the
// one that it is on.
var ofMachine = regexp.MustCompile(`\b(systemctl|poweroff|reboot|halt|shutdown)\b`)

// seenWithin is how long a change may take to be seen everywhere, by a person who
// asks again.
const seenWithin = 30 * time.Second

// gridPages are read one after the other, on the same machines.
var gridPages = []string{"tutorial.md", "grid.md"}

// TestGridPages types every command of the tutorial, and of what goes on where that ends,
// each on the machine that its prompt names, and compares what is printed with what is
// shown. What one machine writes the others find: a person would have carried it.
func TestGridPages(t *testing.T) {
	testenv.RequireBPF(t)
	for _, tool := range []string{"nft", "nmap", "wg-quick"} {
		testenv.RequireTool(t, tool)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute) // most of it for other labs to end
	defer cancel()
	var all []block
	for _, page := range gridPages {
		all = append(all, blocks(t, page)...)
	}
	r := newReader(t, ctx, all)
	for _, b := range all {
		if file, machine := b.fileOn(); file != "" && machine == "" {
			write(t, filepath.Join(r.dir, file), b.text)
		}
		if b.kind != "machines" {
			continue
		}
		for _, cmd := range b.commands() {
			if complaint := r.types(ctx, cmd); complaint != "" {
				t.Fatalf("%s:%d: %s# %s: %s", b.page, cmd.line, cmd.machine, cmd.text, complaint)
			}
		}
	}
}

// reader is somebody who reads those pages and does what they say.
type reader struct {
	grid     *lab.Grid
	nodes    map[string]*lab.Node
	machines map[string]*lab.Machine
	dir      string // where all commands are typed
	bin      string // with zosnet in it
}

func newReader(t *testing.T, ctx context.Context, all []block) *reader {
	t.Helper()
	r := &reader{nodes: map[string]*lab.Node{}, machines: map[string]*lab.Machine{}, dir: t.TempDir(), bin: t.TempDir()}
	if err := os.Symlink(testenv.Zosnet(t), filepath.Join(r.bin, "zosnet")); err != nil {
		t.Fatal(err)
	}
	nodes := []lab.NodeConfig{lab.ThreeNodes[0], {Name: "n2", NAT: true}, {Name: "n3"}}
	var err error
	r.grid, err = lab.NewGrid(ctx, lab.GridConfig{
		Name: "tutorial", Zosnet: testenv.Zosnet(t), Nodes: nodes, Laptop: true, WireGuard: testenv.WireGuardGo(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.grid.Close(); err != nil {
			t.Error(err)
		}
	})
	r.machines["stranger"], r.machines["laptop"] = r.grid.Outside, r.grid.Laptop
	for _, n := range r.grid.Nodes {
		r.nodes[n.Name], r.machines[n.Name] = n, n.Machine
		r.writeNode(t, n, all)
	}
	return r
}

// writeNode makes the node.yaml that the page shows the node's own, beside the lines
// that say where the lab keeps its files.
func (r *reader) writeNode(t *testing.T, n *lab.Node, all []block) {
	t.Helper()
	i := slices.IndexFunc(all, func(b block) bool {
		file, machine := b.fileOn()
		return file == "node.yaml" && machine == n.Name
	})
	if i < 0 {
		t.Fatalf("no page shows a node.yaml of %s", n.Name)
	}
	shown := all[i].text
	for line := range strings.Lines(read(t, n.Config())) {
		if key, _, _ := strings.Cut(line, ":"); !strings.Contains(shown, key+":") {
			shown += line
		}
	}
	write(t, n.Config(), shown)
}

// asking are commands that change nothing, or nothing more when they are typed again: who
// does not see at once what is shown asks again.
var asking = []string{"zosnet network", "zosnet nodes", "zosnet status", "zosnet grid members", "zosnet grid promote", "zosnet grid token", "zosnet owner ls", "ip netns exec", "ping"}

// types runs a command and says what is other than the page shows.
func (r *reader) types(ctx context.Context, want command) (complaint string) {
	if power := powers[want.text]; power != nil {
		if err := power(ctx, r, r.nodes[want.machine]); err != nil {
			return err.Error()
		}
		return ""
	}
	if ofMachine.MatchString(want.text) {
		return "this is for the whole machine, which the test runs on: a lab knows only " + fmt.Sprint(slices.Sorted(maps.Keys(powers)))
	}
	asks := slices.ContainsFunc(asking, func(prefix string) bool { return strings.HasPrefix(want.text, prefix) })
	for deadline := time.Now().Add(seenWithin); ; time.Sleep(200 * time.Millisecond) {
		complaint = r.compare(ctx, want)
		if complaint == "" || !asks || time.Now().After(deadline) {
			return complaint
		}
	}
}

func (r *reader) compare(ctx context.Context, want command) string {
	machine := r.machines[want.machine]
	if machine == nil {
		return "there is no such machine"
	}
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	home := filepath.Join(r.dir, "home-"+want.machine)
	text := want.text
	if node := r.nodes[want.machine]; node != nil {
		text = strings.ReplaceAll(text, "/var/lib/zosnet/", filepath.Join(filepath.Dir(node.Config()), "state")+"/")
	}
	cmd := machine.Command(ctx, "sh", "-c", "exec 2>&1; "+text)
	cmd.Dir = r.dir
	cmd.Env = append(cmd.Env, "HOME="+home, "XDG_CONFIG_HOME="+home, "PATH="+r.bin+":"+pathOf(cmd.Env))
	cmd.WaitDelay = time.Second
	var printed bytes.Buffer
	cmd.Stdout = &printed
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		return fmt.Sprintf("%v\n%s", err, printed.String())
	}
	out := printed.String()
	if status := cmd.ProcessState.ExitCode(); status != want.status {
		return fmt.Sprintf("exit status %d, the page says %d\n%s", status, want.status, out)
	}
	if line := unseen(want.shown, out); line != "" {
		return fmt.Sprintf("the page shows the line\n%s\nwhich is not (or not there) in\n%s", line, out)
	}
	return ""
}

// pathOf gives the PATH that counts, the last one.
func pathOf(env []string) (path string) {
	for _, v := range env {
		if value, ok := strings.CutPrefix(v, "PATH="); ok {
			path = value
		}
	}
	return path
}
