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
	await(t, patience, func() error {
		if !e.hops(to, routers) || e.hops(to, routers-1) {
			return fmt.Errorf("%s: the way is not over %d routers", what, routers)
		}
		return nil
	})
}

// TestNodesMeetAtTheExit: two nodes behind NAT reach each other through the network's
// exit, as the rules say, while keys change and past dead daemons; so do two whose way is
// blocked, and they go directly again when it is not, also where one of them never heard
// the other. Without the exit's machine only what goes through it is cut, and another
// exit takes over from one instant to the next.
func TestNodesMeetAtTheExit(t *testing.T) {
	t.Parallel()
	network := "r" + own()
	t.Cleanup(func() { // of a test that failed, once its daemons are gone
		for _, path := range left(t, network) {
			_ = unix.Unmount(path, unix.MNT_DETACH)
			_ = os.RemoveAll(path)
		}
	})
	g, nodes := newGrid(t, lab.NodeConfig{}, lab.NodeConfig{}, lab.NodeConfig{NAT: true}, lab.NodeConfig{NAT: true})
	exit, public, home, office := nodes[0], nodes[1], nodes[2], nodes[3]
	for _, n := range nodes {
		n.start()
	}
	exit.place("grid", "init")
	for _, n := range nodes[1:] {
		n.place("grid", "join", exit.token())
	}
	heard := office.block(public.Address) // from before they could shake hands
	key := exit.ownerKey("owner.key")
	file := filepath.Join(exit.dir, "network.yaml")
	meetAt := func(exit *node) {
		t.Helper()
		text := fmt.Sprintf("network: %s\nnodes: [%s, %s, %s]\nexit: %s\ndefault: {inside: deny}\nservices: {web: {}, db: {}}\n"+
			"rules:\n  - allow: {from: web, to: db, ports: [icmpv6/echo-request]}\n", network, public.name, home.name, office.name, exit.name)
		check(t, os.WriteFile(file, []byte(text), 0o600))
		_, err := public.cli("apply", "--key", key, "-f", file)
		check(t, err)
	}
	meetAt(exit)
	for _, n := range nodes {
		n.hasNetwork(network, true)
	}
	if _, err := exit.cli("attach", "--network", network, "--service", "web", "--name", "web-9"); err == nil {
		t.Error("a workload was attached at an exit that is not among the network's nodes")
	}

	web := home.attach(network, "web", "web-1")
	db, near := office.attach(network, "db", "db-1"), public.attach(network, "db", "db-2")
	caller := public.attach(network, "web", "web-2") // on a node that cannot begin, and hears nothing
	web.reaches(t, db)
	web.goes(t, "between two hidden nodes", db, 3)
	web.goes(t, "from a hidden node to a public one", near, 2)
	if db.pings(web) {
		t.Error("db reaches web, which no rule allows")
	}
	exit.shows(network, 4, 4)
	unblock := home.block(public.Address)
	web.goes(t, "past a way that is blocked", near, 3)
	if !web.pings(db) {
		t.Error("a way that is blocked cuts another")
	}
	caller.goes(t, "to a node that says it does not hear this one", db, 3)

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

	web.goes(t, "and still past the way that is blocked", near, 3)
	unblock()
	heard()
	web.goes(t, "over a way that works again", near, 2)
	caller.goes(t, "over a way that works for the first time", db, 2)
	web.reaches(t, db)

	t.Run("the exit's machine dies", func(t *testing.T) {
		exit.stop(unix.SIGKILL)
		exit.killCarriers()
		check(t, g.Plug(t.Context(), exit.Node, false))
		direct := web.talks(near)
		for range 3 {
			if web.pings(db) {
				t.Error("two hidden nodes meet at an exit that is dead")
			}
		}
		check(t, g.Plug(t.Context(), exit.Node, true))
		exit.start()
		web.goes(t, "when the exit is back", db, 3)
		if sent, lost := direct(t); lost > 0 || sent < 100 {
			t.Errorf("without an exit, of %d packets over a direct way %d were lost", sent, lost)
		}
	})

	t.Run("the exit moves", func(t *testing.T) {
		web.passes(t, network, db, exit)
		ended := web.talks(db)
		meetAt(public)
		web.passes(t, network, db, public)
		if sent, lost := ended(t); lost > int(movesWithin/(20*time.Millisecond)) || sent < 100 {
			t.Errorf("of %d packets, 50 a second, %d were lost while the exit moved", sent, lost)
		} else {
			t.Logf("of %d packets, 50 a second, %d were lost while the exit moved", sent, lost)
		}
	})

	public.moves(netip.MustParseAddr("192.0.2.250"))
	web.goes(t, "to a node that has moved", near, 2)
}

// movesWithin bounds how long two hidden nodes may be apart while their exit moves: each
// of them hears of it by itself, and so do the exits.
const movesWithin = 10 * time.Second

// passes waits until what goes from one workload to another passes a node: it says that
// the hop limit is used up, as the network's gateway there.
func (e endpoint) passes(t *testing.T, network string, to endpoint, through *node) {
	t.Helper()
	out, err := through.cli("network", "show", network, "-o", "json")
	check(t, err)
	var shown struct{ Gateway netip.Addr }
	check(t, json.Unmarshal([]byte(out), &shown))
	await(t, patience, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		out, _ := e.Command(ctx, "ping", "-6", "-n", "-c", "1", "-W", "2", "-t", "2", to.address.String()).CombinedOutput()
		if strings.Contains(string(out), "From "+shown.Gateway.String()+" ") {
			return nil
		}
		return fmt.Errorf("the way from %v to %v is not through %s, %v:\n%s", e.address, to.address, through.name, shown.Gateway, out)
	})
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
