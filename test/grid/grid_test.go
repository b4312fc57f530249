// Package grid proves the grid with whole daemons: made by `zosnet grid init`, joined
// with a token, over real WireGuard, each node in a network namespace of its own.
package grid_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/testenv"
)

// allocation is what the first node holds.
var allocation = netip.MustParsePrefix("2001:db8:aa01::/48")

// patience bounds what a loaded machine may take for one step.
const patience = 2 * time.Minute

// node is a node of a lab's grid.
type node struct {
	*lab.Node
	grid *lab.Grid
	t    *testing.T
	name string
	dir  string // with its document, state and sockets
	log  logFile
}

// logFile is what a daemon has logged.
type logFile string

func (f logFile) String() string {
	text, _ := os.ReadFile(string(f))
	return string(text)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// await waits until something holds, and fails with what it says is wrong at last.
func await(t *testing.T, within time.Duration, wrong func() error) {
	t.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(50 * time.Millisecond) {
		err := wrong()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v still: %v", within, err)
		}
	}
}

// newNodes makes nodes that are on the Internet, of which only the first says so:
// the others dial out. The daemons do not run yet. The names of nodes are those of
// no other node on the machine: so are their interfaces.
func newNodes(t *testing.T, count int) []*node {
	t.Helper()
	var configs []lab.NodeConfig
	for i := 1; i <= count; i++ {
		configs = append(configs, lab.NodeConfig{Unlisted: i > 1})
	}
	_, nodes := newGrid(t, configs...)
	return nodes
}

var names atomic.Int32

// own gives the end of names that nothing else on the machine has: tests run side by
// side, and so do processes with tests.
func own() string {
	return strconv.FormatInt(int64(os.Getpid()), 36) + "-" + strconv.FormatInt(int64(names.Add(1)), 36)
}

// newGrid makes nodes, which get a name of their own. Only the first holds a prefix:
// the others get blocks of that.
func newGrid(t *testing.T, configs ...lab.NodeConfig) (*lab.Grid, []*node) {
	t.Helper()
	return newLab(t, lab.GridConfig{Nodes: configs})
}

// newLab is newGrid with more than nodes.
func newLab(t *testing.T, config lab.GridConfig) (*lab.Grid, []*node) {
	t.Helper()
	testenv.RequireBPF(t)
	testenv.RequireTool(t, "nft")
	id := own()
	for i := range config.Nodes {
		c := &config.Nodes[i]
		if c.Name == "" {
			c.Name = fmt.Sprintf("n%d-%s", i+1, id)
		}
		if i == 0 && !c.Prefix.IsValid() {
			c.Prefix = allocation
		}
	}
	config.Name, config.OwnNames = "gi-"+id, true
	config.Zosnet = testenv.Zosnet(t)
	g, err := lab.NewGrid(t.Context(), config)
	check(t, err)
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	var list []*node
	for _, n := range g.Nodes {
		n := &node{Node: n, grid: g, t: t, name: n.Name, dir: filepath.Dir(n.Config()), log: logFile(n.Log())}
		t.Cleanup(n.tell)
		list = append(list, n)
	}
	return g, list
}

// tell shows what the daemon of a test that has failed logged.
func (n *node) tell() {
	if n.t.Failed() {
		n.t.Logf("%s logged:\n%s", n.name, n.log)
	}
}

// carriers gives the WireGuard process of this node, found by the lock that it holds.
func (n *node) carriers() (list []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, file := range files {
		target, _ := os.Readlink(file)
		if strings.TrimSuffix(target, " (deleted)") == n.dir+"/run/wireguard/wg.lock" {
			if pid, err := strconv.Atoi(strings.Split(file, "/")[2]); err == nil {
				list = append(list, pid)
			}
		}
	}
	return list
}

func (n *node) start() {
	n.t.Helper()
	check(n.t, n.Start(n.t.Context()))
}

// stop ends the daemon by a signal. One that never ran has ended.
func (n *node) stop(signal unix.Signal) {
	if n.Exited() == nil {
		return
	}
	end := n.Stop
	if signal == unix.SIGKILL {
		end = n.Kill
	}
	if err := end(); err != nil {
		n.t.Error(err)
	}
}

// cli runs a verb of the command line.
func (n *node) cli(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := n.CLI(ctx, args...)
	if err != nil {
		err = fmt.Errorf("%s: %w", n.name, err)
	}
	return strings.TrimSpace(out), err
}

// tells decodes what a verb prints as JSON.
func (n *node) tells(to any, args ...string) error {
	out, err := n.cli(append(args, "-o", "json")...)
	if err == nil {
		err = json.Unmarshal([]byte(out), to)
	}
	return err
}

// place is what `zosnet grid … -o json` prints.
type place struct {
	Node, Control, Interface string
	Address                  netip.Addr
	Members                  []string
}

func (n *node) place(args ...string) (p place) {
	n.t.Helper()
	out, err := n.cli(append(args, "-o", "json")...)
	check(n.t, err)
	check(n.t, json.Unmarshal([]byte(out), &p))
	return p
}

func (n *node) token() string {
	n.t.Helper()
	token, err := n.cli("grid", "token", "--for", "10m")
	check(n.t, err)
	return token
}

// reaches says whether a TCP connection comes about.
func (n *node) reaches(to netip.AddrPort, within time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	conn, err := n.Dial(ctx, "tcp", to.String())
	if err == nil {
		_ = conn.Close()
	}
	return err
}
