package grid_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/testenv"
)

// cutFor is how long the registry is away: twice a node's lease (30 s), and longer than
// what a client takes to notice (15 s) and than the pause between its attempts (5 s).
// Nothing else of the grid has a time to run out: WireGuard's sessions and flows are
// the nodes' own, and the next thing to end is a certificate, within months.
const cutFor = time.Minute

const day = 24 * time.Hour

// TestNodesAndFailures: with one clock a day behind and one a day ahead, the registry's
// only member is cut off while tenants talk, and a node's daemon is killed and comes
// back meanwhile; a clock is put right; whose networks a node carries is changed; what
// a document would change on which node is said before it does; a node is gone for
// good.
func TestNodesAndFailures(t *testing.T) {
	t.Parallel()
	id := own()
	network, other := "f"+id, "o"+id
	t.Cleanup(func() {
		for _, path := range append(left(t, network), left(t, other)...) {
			_ = unix.Unmount(path, unix.MNT_DETACH)
			_ = os.RemoveAll(path)
		}
	})
	testenv.RequireTool(t, "wg")
	// The first three nodes have all that there is: a block each.
	g, nodes := newGrid(t, lab.NodeConfig{Prefix: netip.MustParsePrefix("2001:db8:aa01::/55")}, lab.NodeConfig{}, lab.NodeConfig{}, lab.NodeConfig{})
	first, second, third, fourth := nodes[0], nodes[1], nodes[2], nodes[3]
	// One clock is a day behind, one a day ahead; all else holds all the same.
	second.Program, third.Program = clockOff(t, -day), clockOff(t, day)
	for _, n := range nodes[:3] {
		n.start()
	}
	first.place("grid", "init")
	_, err := first.cli("prefix", "register", "2001:db8:aa02::/56", "--source", "a test")
	check(t, err)
	second.place("grid", "join", first.token())
	third.place("grid", "join", first.token())
	key := first.ownerKey("owner.key")
	page := func(nodes, rules string) string {
		file := filepath.Join(first.dir, "network.yaml")
		text := fmt.Sprintf("network: %s\nnodes: [%s]\ndefault: {inside: deny}\nservices: {web: {}, db: {}}\nrules:\n%s", network, nodes, rules)
		check(t, os.WriteFile(file, []byte(text), 0o600))
		return file
	}
	both := second.name + ", " + third.name
	webToDB, dbToWeb := "  - allow: {from: web, to: db, ports: [icmpv6/echo-request]}\n", "  - allow: {from: db, to: web, ports: [icmpv6/echo-request]}\n"
	_, err = first.cli("apply", "--key", key, "-f", page(both, webToDB))
	check(t, err)
	for _, n := range []*node{second, third} {
		n.hasNetwork(network, true)
	}
	web, db := second.attach(network, "web", "web-1"), third.attach(network, "db", "db-1")
	t.Run("there is a session before anybody speaks", func(t *testing.T) {
		await(t, patience, func() error {
			if peer := second.onlyPeer(t, network); peer.handshake == "0" || peer.keepalive != "off" {
				return fmt.Errorf("second's peer is %+v; want it called, and not again and again", peer)
			}
			return nil
		})
	})
	web.reaches(t, db)

	t.Run("every node is listed", func(t *testing.T) {
		for _, n := range nodes[:3] {
			n.lists(func(l listedNode) bool {
				return l.Live && l.Member == (l.Node == first.name) && (l.Node == first.name) == (len(l.Networks) == 0)
			})
		}
	})

	t.Run("the registry is cut off while tenants talk", func(t *testing.T) {
		stream := web.streamsFor(db, cutFor+5*time.Second)
		began := time.Now()
		check(t, g.Plug(t.Context(), first.Node, false))
		_, err := first.cli("apply", "--key", key, "-f", page(both, webToDB+dbToWeb))
		check(t, err)
		second.stop(unix.SIGKILL)
		second.start() // comes up from what it kept
		if state := second.registry(); state.Source != "cache" {
			t.Errorf("second knows the grid from %q", state.Source)
		}
		if !web.pings(db) || db.pings(web) {
			t.Error("what was enforced is not what is enforced")
		}
		for _, n := range []*node{second, third} {
			for n.registry().Problem == "" {
				if time.Since(began) > cutFor {
					t.Fatalf("%s does not say that the registry is away", n.name)
				}
				time.Sleep(200 * time.Millisecond)
			}
		}
		second.forgets()
		if !web.pings(db) || db.pings(web) {
			t.Error("what was enforced does not stay where a node knows nothing any more")
		}
		time.Sleep(time.Until(began.Add(cutFor)))
		if lost := stream(t); lost > 10 {
			t.Errorf("%d packets were lost", lost)
		}
		if db.pings(web) {
			t.Error("a document that nobody here has heard of is enforced")
		}
		check(t, g.Plug(t.Context(), first.Node, true))
		db.reaches(t, web)
		for _, n := range []*node{second, third} {
			n.lists(func(l listedNode) bool { return l.Live })
		}
	})

	old := third.networkKey(network, "keys", "ls")
	t.Run("a clock that was ahead is put right", func(t *testing.T) {
		third.stop(unix.SIGTERM)
		third.killCarriers()
		third.Program = ""
		third.start()
		// What third begins its peers take for old, as if somebody played it back. What
		// they begin they take.
		web.reaches(t, db)
		db.reaches(t, web)
		// Where no peer had anything to send, it would need a key that nobody remembers.
		if !strings.Contains(third.log.String(), "clock was put back") {
			t.Error("it does not notice")
		}
	})

	t.Run("whose networks a node carries", func(t *testing.T) { testAccept(t, first, second, key, other) })

	t.Run("what a document would change where", func(t *testing.T) {
		file := page(second.name, webToDB)
		out, err := first.cli("apply", "--dry-run", "--key", key, "-f", file, "-o", "json")
		check(t, err)
		var preview struct{ Elsewhere []nodeChange }
		check(t, json.Unmarshal([]byte(out), &preview))
		for _, want := range []nodeChange{
			{Node: second.name, Object: "network " + network + " rules[1]", Action: "remove"},
			{Node: second.name, Object: "overlay of network " + network + " peer " + third.name, Action: "remove"},
			{Node: third.name, Object: "network " + network, Action: "remove"},
			{Node: third.name, Object: "workload " + network + "/db-1", Action: "remove"},
		} {
			if !slices.ContainsFunc(preview.Elsewhere, func(c nodeChange) bool {
				return c.Node == want.Node && c.Object == want.Object && c.Action == want.Action
			}) {
				t.Errorf("not foreseen: %+v; it is %+v", want, preview.Elsewhere)
			}
		}
		if n := len(preview.Elsewhere); n != 6 { // and the overlays, changed and gone
			t.Errorf("foreseen are %d changes: %+v", n, preview.Elsewhere)
		}
		diff, err := second.cli("network", "diff", network, "-f", file)
		check(t, err)
		if !strings.Contains(diff, "node "+third.name) || !strings.Contains(diff, "allow: {from: db, to: web") {
			t.Errorf("the difference is\n%s", diff)
		}
		history, err := second.cli("network", "history", network)
		check(t, err)
		if strings.Count(history, "ed25519:") != 2 || !strings.Contains(history, "allow: {from: db, to: web") {
			t.Errorf("the history is\n%s", history)
		}
	})

	t.Run("a clock that was ahead is put right, and what its node says is newer", func(t *testing.T) {
		// Its lease has ended (30 s), and what a member then said had no answer (15 s).
		third.followsRegistry()
		third.hasChanged(network, old.Generation+1)
		_, err := third.cli("detach", "--network", network, "--name", "db-1")
		check(t, err)
		db = third.attach(network, "db", "db-2")
		web.reaches(t, db)
	})

	if _, err := first.cli("node", "remove", third.name); err == nil || !strings.Contains(err.Error(), "it is live") {
		t.Errorf("a node that is live was removed: %v", err)
	}
	// Whoever took its cable does not bring it back.
	third.stop(unix.SIGKILL)
	third.killCarriers()
	check(t, g.Plug(t.Context(), third.Node, false))

	t.Run("a node is gone for good", func(t *testing.T) {
		first.lists(func(l listedNode) bool {
			return l.Live == (l.Node != third.name) && (l.Left != "") == (l.Node == third.name)
		})
		testStale(t, second, network, third)
		// A node that needs a block waits, and be its clock a day ahead.
		fourth.Program = clockOff(t, day)
		fourth.start()
		fourth.place("grid", "join", first.token())
		fourth.asksInVain(t, nodes[:3]...)
		first.has(t, db.address, third, false)
		if _, err := second.cli("node", "remove", third.name); err == nil || !strings.Contains(err.Error(), "no member") {
			t.Errorf("a node was removed at one that is no member: %v", err)
		}
		if _, err := first.cli("node", "remove", first.name); err == nil {
			t.Error("a node removed itself")
		}
		_, err := first.cli("node", "remove", third.name)
		check(t, err)
		first.has(t, db.address, third, true)
		first.lists(func(l listedNode) bool { return l.Node != third.name })
		second.shows(network, 1, 1)          // nothing of it but its name in the document
		second.attach(network, "db", "db-3") // namespaces are the whole machine's: third has left its own
		if _, err := first.cli("node", "remove", third.name); err == nil || !strings.Contains(err.Error(), third.name) {
			t.Errorf("a node was removed twice: %v", err)
		}
		first.has(t, db.address, third, true)
		first.stop(unix.SIGTERM)
		first.Program = clockOff(t, day)
		first.start() // the rest is over
		first.has(t, db.address, fourth, false)
	})
}

// testAccept: a stranger's network is refused and said to be, taken once its owner is
// accepted, and goes with its last workload once it is not any more.
func testAccept(t *testing.T, first, second *node, key, network string) {
	stranger := first.ownerKey("stranger.key")
	file := filepath.Join(first.dir, "other.yaml")
	check(t, os.WriteFile(file, fmt.Appendf(nil, "network: %s\nnodes: [%s, %s]\nservices: {web: {}}\n", network, first.name, second.name), 0o600))
	accepts := func(keys ...string) {
		t.Helper()
		var owners []string
		for _, key := range keys {
			out, err := first.cli("key", "show", "--file", key)
			check(t, err)
			owners = append(owners, strings.TrimSpace(out))
		}
		second.says("accept: [" + strings.Join(owners, ", ") + "]\n")
		check(t, unix.Kill(second.PID(), unix.SIGHUP))
	}
	accepts(key)
	_, err := first.cli("apply", "--key", stranger, "-f", file)
	check(t, err)
	second.ignores(network, "does not accept")
	out, err := second.cli("apply", "--key", stranger, "-f", file, "-o", "json") // any node will do, also this one
	if err != nil || !strings.Contains(out, "not taken over here") {
		t.Errorf("applied where its owner is not accepted: %s %v", out, err)
	}
	accepts(key, stranger)
	second.ignores(network, "")
	second.hasNetwork(network, true)
	second.attach(network, "web", "web-1")
	accepts(key)
	second.ignores(network, "any more")
	if _, err := second.cli("attach", "--network", network, "--service", "web", "--name", "web-2"); err == nil || !strings.Contains(err.Error(), "any more") {
		t.Errorf("a workload of a network that is not accepted any more: %v", err)
	}
	private := filepath.Join(second.dir, "state/overlays", network)
	if _, err := os.Stat(private); err != nil {
		t.Errorf("the network's key: %v", err)
	}
	_, err = second.cli("detach", "--network", network, "--name", "web-1")
	check(t, err)
	eventually(t, "a network that is not accepted has gone with its last workload, and its key", func() bool {
		_, err := os.Stat(private)
		return os.IsNotExist(err)
	})
}

// killCarriers kills the node's WireGuard process, and waits until it is gone.
func (n *node) killCarriers() {
	n.t.Helper()
	eventually(n.t, "the WireGuard process is dead", func() bool {
		carriers := n.carriers()
		for _, pid := range carriers {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		return len(carriers) == 0
	})
}

// says sets a key of node.yaml.
func (n *node) says(line string) {
	n.t.Helper()
	file := filepath.Join(n.dir, "node.yaml")
	text, err := os.ReadFile(file)
	check(n.t, err)
	name, _, _ := strings.Cut(line, ":")
	lines := slices.DeleteFunc(slices.Collect(strings.Lines(string(text))), func(l string) bool { return strings.HasPrefix(l, name+":") })
	check(n.t, os.WriteFile(file, []byte(strings.Join(lines, "")+line), 0o600))
}

// listedNode is a line of `zosnet nodes`.
type listedNode struct {
	Node     string
	Live     bool
	Member   bool
	Left     string
	Networks []string
}

type nodeChange struct{ Node, Object, Action string }

// lists waits until every node that the grid has is as it should be, at this node.
func (n *node) lists(is func(listedNode) bool) {
	n.t.Helper()
	await(n.t, patience, func() error {
		var list struct {
			Nodes    []listedNode
			Registry registryState
		}
		err := n.tells(&list, "nodes")
		if err == nil && (len(list.Nodes) < 2 || list.Registry.Problem != "" || slices.ContainsFunc(list.Nodes, func(l listedNode) bool { return !is(l) })) {
			err = fmt.Errorf("%s lists %+v", n.name, list)
		}
		return err
	})
}

type registryState struct{ Source, Confirmed, Problem string }

// registry is what the node says that it knows of the grid.
func (n *node) registry() registryState {
	n.t.Helper()
	out, err := n.cli("status", "-o", "json")
	check(n.t, err)
	var status struct{ Grid registryState }
	check(n.t, json.Unmarshal([]byte(out), &status))
	return status.Grid
}

// forgets loses what the node kept of the grid, and waits until it says so: with its
// registry away it enforces nothing anew.
func (n *node) forgets() {
	n.t.Helper()
	n.stop(unix.SIGKILL)
	check(n.t, os.Remove(filepath.Join(n.dir, "state/grid/cache.db")))
	check(n.t, n.Launch())
	eventually(n.t, "a node that forgot the grid says so", func() bool {
		out, err := n.cli("status", "-o", "json")
		return err != nil && strings.Contains(out, "nothing is known of the grid any more")
	})
}

// followsRegistry waits until the node follows its registry.
func (n *node) followsRegistry() {
	n.t.Helper()
	await(n.t, patience, func() error {
		if state := n.registry(); state.Source != "cluster" || state.Problem != "" {
			return fmt.Errorf("%s does not follow its registry: %+v", n.name, state)
		}
		return nil
	})
}

// ignores waits until the node says that it leaves a network out because of something,
// or does not say so.
func (n *node) ignores(network, because string) {
	n.t.Helper()
	await(n.t, patience, func() error {
		var status struct {
			Ignored []struct{ Object, Reason string }
		}
		err := n.tells(&status, "status")
		reason := ""
		for _, i := range status.Ignored {
			if i.Object == "network "+network {
				reason = i.Reason
			}
		}
		if err == nil && (!strings.Contains(reason, because) || (reason == "") != (because == "")) {
			err = fmt.Errorf("%s leaves out %s because %q, want %q", n.name, network, reason, because)
		}
		return err
	})
}

// streamsFor sends 50 packets a second for a time; the function that it gives waits
// for the end and tells how many were not answered.
func (e endpoint) streamsFor(to endpoint, period time.Duration) func(*testing.T) int {
	count := int(period / (20 * time.Millisecond))
	ctx, cancel := context.WithTimeout(context.Background(), 2*period+time.Minute)
	cmd := e.Command(ctx, "ping", "-6", "-q", "-i", "0.02", "-c", strconv.Itoa(count), to.address.String())
	var out bytes.Buffer
	cmd.Stdout = &out
	err := cmd.Start()
	return func(t *testing.T) int {
		t.Helper()
		defer cancel()
		check(t, err)
		_ = cmd.Wait() // 1 when something was lost
		for line := range strings.Lines(out.String()) {
			var sent, received int
			if _, err := fmt.Sscanf(line, "%d packets transmitted, %d received", &sent, &received); err == nil && sent == count {
				return sent - received
			}
		}
		t.Fatalf("ping said %q", out.String())
		return 0
	}
}
