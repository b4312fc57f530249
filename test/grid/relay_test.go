package grid_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/test/lab"
)

// hops tells whether one workload hears another that is so many routers away.
func (e endpoint) hops(to endpoint, routers int) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return e.Command(ctx, "ping", "-6", "-c", "1", "-W", "2", "-t", strconv.Itoa(routers+1), to.address.String()).Run() == nil
}

// goes waits until the way from one workload to another has so many routers: two where
// their nodes reach each other, three where they meet at the exit.
func (e endpoint) goes(t *testing.T, what string, to endpoint, routers int) {
	t.Helper()
	for deadline := time.Now().Add(patience); !e.hops(to, routers) || e.hops(to, routers-1); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: the way is not over %d routers", what, routers)
		}
	}
}

// TestNodesMeetAtTheExit: two nodes behind NAT reach each other through the network's
// exit, as the rules say, while keys change and past dead daemons; so does one whose way to a public
// node is blocked, and it goes directly again when it is not.
func TestNodesMeetAtTheExit(t *testing.T) {
	network := "r" + strconv.FormatInt(int64(os.Getpid()), 36)
	t.Cleanup(func() { // of a test that failed, once its daemons are gone
		for _, path := range left(t, network) {
			_ = unix.Unmount(path, unix.MNT_DETACH)
			_ = os.RemoveAll(path)
		}
	})
	_, nodes := newGrid(t, lab.NodeConfig{}, lab.NodeConfig{}, lab.NodeConfig{NAT: true}, lab.NodeConfig{NAT: true})
	exit, public, home, office := nodes[0], nodes[1], nodes[2], nodes[3]
	for _, n := range nodes {
		n.start()
	}
	exit.place("grid", "init")
	for _, n := range nodes[1:] {
		n.place("grid", "join", exit.token())
	}
	key := exit.ownerKey("owner.key")
	file := filepath.Join(exit.dir, "network.yaml")
	text := fmt.Sprintf("network: %s\nnodes: [%s, %s, %s]\nexit: %s\ndefault: {inside: deny}\nservices: {web: {}, db: {}}\n"+
		"rules:\n  - allow: {from: web, to: db, ports: [icmpv6/echo-request]}\n", network, public.name, home.name, office.name, exit.name)
	check(t, os.WriteFile(file, []byte(text), 0o600))
	_, err := public.cli("apply", "--key", key, "-f", file)
	check(t, err)
	for _, n := range nodes {
		n.hasNetwork(network, true)
	}
	if _, err := exit.cli("attach", "--network", network, "--service", "web", "--name", "web-9"); err == nil {
		t.Error("a workload was attached at an exit that is not among the network's nodes")
	}

	web := home.attach(network, "web", "web-1")
	db, near := office.attach(network, "db", "db-1"), public.attach(network, "db", "db-2")
	web.reaches(t, db)
	web.goes(t, "between two hidden nodes", db, 3)
	web.goes(t, "from a hidden node to a public one", near, 2)
	if db.pings(web) {
		t.Error("db reaches web, which no rule allows")
	}
	exit.shows(network, 4, 3)

	ended := web.talks(db)
	if k := office.networkKey(network, "keys", "rotate", "--network", network); k.Next != nil {
		t.Errorf("a change of keys still waits for %v", k.Next.WaitsFor)
	}
	for _, n := range nodes {
		n.hasChanged(network, 1)
	}
	if sent, lost := ended(t); lost > 0 || sent < 100 {
		t.Errorf("through the exit, of %d packets %d were lost while keys changed", sent, lost)
	}

	for _, n := range nodes {
		n.stop(unix.SIGKILL)
	}
	if !web.pings(db) {
		t.Error("with the daemons dead, web does not reach db")
	}
	for _, n := range nodes {
		n.start()
	}
	web.goes(t, "after all daemons began again", db, 3)

	unblock := home.block(public.Address)
	web.goes(t, "past a way that is blocked", near, 3)
	if !web.pings(db) {
		t.Error("a way that is blocked cuts another")
	}
	unblock()
	web.goes(t, "over a way that works again", near, 2)
	web.reaches(t, db)

	public.moves(netip.MustParseAddr("192.0.2.250"))
	web.goes(t, "to a node that has moved", near, 2)
}

// moves gives a node another address of the Internet in place of its own, and says that
// this is its endpoint.
func (n *node) moves(to netip.Addr) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	check(n.t, n.Sysctl("net/ipv4/conf/eth0/promote_secondaries", "1"))
	for _, line := range []string{"add " + to.String() + "/24 dev eth0", "del " + n.Address.String() + "/24 dev eth0"} {
		if out, err := n.Machine.Command(ctx, "ip", append([]string{"addr"}, strings.Fields(line)...)...).CombinedOutput(); err != nil {
			n.t.Fatalf("ip addr %s: %v\n%s", line, err, out)
		}
	}
	text, err := os.ReadFile(n.Config())
	check(n.t, err)
	moved := strings.Replace(string(text), fmt.Sprintf("endpoint: %v\n", n.Address), fmt.Sprintf("endpoint: %v\n", to), 1)
	if moved == string(text) {
		n.t.Fatalf("the node.yaml of %s names no endpoint %v:\n%s", n.name, n.Address, text)
	}
	check(n.t, os.WriteFile(n.Config(), []byte(moved), 0o600))
	check(n.t, unix.Kill(n.PID(), unix.SIGHUP))
}

// block drops what goes from a node behind NAT to an address and back, at its router.
func (n *node) block(other netip.Addr) (unblock func()) {
	n.t.Helper()
	nft := func(script string) {
		n.t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		cmd := n.NAT.Command(ctx, "nft", "-f", "-")
		cmd.Stdin = strings.NewReader(script)
		if out, err := cmd.CombinedOutput(); err != nil {
			n.t.Fatalf("nft: %v\n%s", err, out)
		}
	}
	nft(fmt.Sprintf("table ip blocked {\n chain forward {\n  type filter hook forward priority -10\n"+
		"  ip daddr %[1]v drop\n  ip saddr %[1]v drop\n }\n}\n", other))
	return func() { nft("delete table ip blocked\n") }
}
