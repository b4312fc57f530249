// Package grid proves the grid with whole daemons: made by `zosnet grid init`, joined
// with a token, over real WireGuard, each node in a network namespace of its own.
package grid_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
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

// patience bounds what a loaded machine may take for one step.
const patience = 2 * time.Minute

// node is a daemon in a network namespace of its own.
type node struct {
	*lab.Machine
	t    *testing.T
	name string
	dir  string
	bpf  string
	cmd  *exec.Cmd
	log  *bytes.Buffer
}

func host(line string, args ...any) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	words := strings.Fields(fmt.Sprintf(line, args...))
	_, err := lab.NewMachine("host", "/proc/self/ns/net").Run(ctx, words[0], words[1:]...)
	return err
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newNodes makes nodes on one switch: 192.0.2.1, 192.0.2.2 and so on. Their names
// are those of no other node on the machine: so are their interfaces.
func newNodes(t *testing.T, count int) []*node {
	t.Helper()
	testenv.RequireBPF(t)
	id := strconv.FormatInt(int64(os.Getpid()), 36)
	bridge := "gi-" + id + "-0"
	check(t, host("ip netns add %s", bridge))
	t.Cleanup(func() { _ = host("ip netns del %s", bridge) })
	check(t, host("ip -n %s link add sw0 type bridge", bridge))
	check(t, host("ip -n %s link set sw0 up", bridge))
	var list []*node
	for i := 1; i <= count; i++ {
		n := &node{t: t, name: fmt.Sprintf("n%d-%s", i, id), log: &bytes.Buffer{}}
		namespace := fmt.Sprintf("gi-%s-%d", id, i)
		n.Machine = lab.NewMachine(n.name, "/run/netns/"+namespace)
		check(t, host("ip netns add %s", namespace))
		t.Cleanup(func() { _ = host("ip netns del %s", namespace) })
		check(t, host("ip -n %s link add eth0 type veth peer name p%d netns %s", namespace, i, bridge))
		check(t, host("ip -n %s link set p%d master sw0 up", bridge, i))
		check(t, host("ip -n %s addr add %s/24 dev eth0", namespace, n.outer(i)))
		check(t, host("ip -n %s link set eth0 up", namespace))
		check(t, host("ip -n %s link set lo up", namespace))
		n.prepare(i)
		list = append(list, n)
	}
	return list
}

func (n *node) outer(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}) }

// prepare writes node.yaml. Only the first node can be reached.
func (n *node) prepare(i int) {
	n.t.Helper()
	var err error
	n.dir, err = os.MkdirTemp("", "gi") // short: a socket's path is
	check(n.t, err)
	n.t.Cleanup(func() { _ = os.RemoveAll(n.dir) })
	n.bpf = "/sys/fs/bpf/" + filepath.Base(n.dir)
	text := fmt.Sprintf("node: %s\nuplinks: [eth0]\nprefixes: [2001:db8:aa0%d::/48]\nstateDir: %s/state\nrunDir: %s/run\nbpffs: %s\n",
		n.name, i, n.dir, n.dir, n.bpf)
	if i == 1 {
		text += fmt.Sprintf("endpoint: %s\n", n.outer(i))
	}
	check(n.t, os.WriteFile(filepath.Join(n.dir, "node.yaml"), []byte(text), 0o600))
	n.t.Cleanup(n.takeDown)
}

// takeDown ends the daemon and what outlives it.
func (n *node) takeDown() {
	n.stop(unix.SIGTERM)
	for _, pid := range n.carriers() {
		_ = unix.Kill(pid, unix.SIGTERM)
	}
	_ = os.RemoveAll(n.bpf)
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
	n.cmd = n.Command(context.Background(), testenv.Zosnet(n.t), "daemon", "--config", filepath.Join(n.dir, "node.yaml"))
	n.cmd.Stdout, n.cmd.Stderr = n.log, n.log
	n.cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	check(n.t, n.cmd.Start())
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		if _, err := n.cli("status"); err == nil {
			return
		} else if time.Now().After(deadline) {
			n.t.Fatalf("%s is not ready: %v", n.name, err)
		}
	}
}

func (n *node) stop(signal unix.Signal) {
	if n.cmd != nil {
		_ = n.cmd.Process.Signal(signal)
		_ = n.cmd.Wait() // also tells of the signal
		n.cmd = nil
	}
}

// cli runs a verb of the command line.
func (n *node) cli(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, testenv.Zosnet(n.t), append([]string{"--socket", n.dir + "/run/zosnet.sock"}, args...)...)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s: zosnet %s: %w: %s", n.name, args[0], err, complaint.String())
	}
	return strings.TrimSpace(string(out)), err
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
