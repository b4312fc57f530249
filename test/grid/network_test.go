package grid_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/test/lab"
)

// TestNetworkOverNodes: one page, signed by its owner and applied anywhere, is a
// network on every node that it names. Its services reach each other over the
// overlay as the rules say, also past dead daemons; nobody else changes it, and the
// owner's word ends it everywhere.
func TestNetworkOverNodes(t *testing.T) {
	t.Parallel()
	network := "g" + own()
	t.Cleanup(func() { // of a test that failed, once its daemons are gone
		for _, path := range left(t, network) {
			_ = unix.Unmount(path, unix.MNT_DETACH)
			_ = os.RemoveAll(path)
		}
	})
	g, nodes := newGrid(t, lab.NodeConfig{}, lab.NodeConfig{Unlisted: true}, lab.NodeConfig{Unlisted: true})
	first, second, third := nodes[0], nodes[1], nodes[2]
	for _, n := range nodes {
		n.start()
	}
	first.place("grid", "init")
	token := first.token()
	second.place("grid", "join", token)
	third.place("grid", "join", first.token())

	key, stranger := first.ownerKey("owner.key"), first.ownerKey("stranger.key")
	page := func(rules string) string {
		file := filepath.Join(first.dir, "network.yaml")
		text := fmt.Sprintf("network: %s\nnodes: [%s, %s]\ndefault: {inside: deny}\nservices: {web: {}, db: {ports: [icmpv6/echo-request]}}\nrules:\n%s",
			network, first.name, second.name, rules)
		check(t, os.WriteFile(file, []byte(text), 0o600))
		return file
	}
	webToDB := "  - allow: {from: web, to: db, ports: [icmpv6/echo-request]}\n"
	if _, err := third.cli("apply", "--key", filepath.Join(first.dir, "none.key"), "-f", page(webToDB)); err == nil {
		t.Error("a document without a key was applied")
	}
	// The third node is not in the network; its owner may sit there all the same.
	_, err := third.cli("apply", "--key", key, "-f", page(webToDB))
	check(t, err)
	for _, n := range []*node{first, second} {
		n.hasNetwork(network, true)
	}
	if out, err := third.cli("network", "ls"); err != nil || strings.Contains(out, network) {
		t.Errorf("a node that is not named has the network: %s %v", out, err)
	}

	web := first.attach(network, "web", "web-1")
	db := second.attach(network, "db", "db-1")
	web.reaches(t, db)
	if db.pings(web) {
		t.Error("db reaches web, which no rule allows")
	}
	if _, err := second.cli("attach", "--network", network, "--service", "web", "--name", "web-1"); err == nil {
		t.Error("two nodes have a workload of one name")
	}
	first.shows(network, 2, 2)
	t.Run("a node that holds no prefix has a block of one that does", func(t *testing.T) { delegated(t, first, second, db.address) })

	if _, err := second.cli("apply", "--key", stranger, "-f", page("  - allow: {from: any, to: any}\n")); err == nil {
		t.Error("somebody else's document was taken")
	}
	_, err = second.cli("apply", "--key", key, "-f", page(webToDB+"  - allow: {from: db, to: web, ports: [icmpv6/echo-request]}\n"))
	check(t, err)
	db.reaches(t, web)
	var private map[string]string
	t.Run("keys change under way", func(t *testing.T) { private = changeKeys(t, network, first, second, web, db) })

	t.Run("one node against it", func(t *testing.T) { oneNodeAgainstIt(t, third, network, web, db, first, second) })
	t.Run("a document of a newer version", func(t *testing.T) {
		newerDocument(t, third, network, key, page(webToDB), web, db, first, second)
	})
	t.Run("a person joins at one node and reaches another", func(t *testing.T) { personAcrossNodes(t, second, g.Outside, network, key, db, web) })
	entranceKeys(t, private, first, second)

	for _, n := range []*node{first, second} {
		n.stop(unix.SIGKILL)
	}
	if !web.pings(db) {
		t.Error("with the daemons dead, web does not reach db")
	}
	stream := web.streams(db)
	second.start() // from its cache: the registry is away
	if lost := stream(t); lost > 10 {
		t.Errorf("%d of 500 packets were lost while a daemon started", lost)
	}
	second.hasBlockOf(db.address)
	first.start()

	if _, err := first.cli("delete", network, "--key", key); err == nil {
		t.Error("a network with workloads was deleted without --force")
	}
	_, err = first.cli("delete", network, "--key", key, "--force")
	check(t, err)
	for _, n := range []*node{first, second} {
		n.hasNetwork(network, false)
	}
	await(t, patience, func() error {
		if paths := left(t, network); len(paths) > 0 {
			return fmt.Errorf("of a network that was deleted, %v stayed", paths)
		}
		return nil
	})
	searchSecrets(t, nodes, token)
	searchKeys(t, nodes, private)
}

// left gives what there is of a network outside its nodes' own namespaces.
func left(t *testing.T, network string) (paths []string) {
	t.Helper()
	for _, pattern := range []string{"/run/netns/%s.*", "/etc/netns/%s.*"} {
		found, err := filepath.Glob(fmt.Sprintf(pattern, network))
		check(t, err)
		paths = append(paths, found...)
	}
	return paths
}

// ownerKey makes an owner's key.
func (n *node) ownerKey(name string) string {
	n.t.Helper()
	file := filepath.Join(n.dir, name)
	_, err := n.cli("key", "new", "--file", file)
	check(n.t, err)
	return file
}

// hasNetwork waits until a node carries a network, or no longer does.
func (n *node) hasNetwork(network string, want bool) {
	n.t.Helper()
	await(n.t, patience, func() error {
		out, err := n.cli("network", "ls")
		if err == nil && strings.Contains(out, network) != want {
			err = fmt.Errorf("%s: network %s there is not %v: %s", n.name, network, want, out)
		}
		return err
	})
}

// endpoint is a workload, seen from inside.
type endpoint struct {
	*lab.Machine
	address netip.Addr
}

func (n *node) attach(network, service, name string) endpoint {
	n.t.Helper()
	out, err := n.cli("attach", "--network", network, "--service", service, "--name", name, "-o", "json")
	check(n.t, err)
	var w struct{ Address netip.Addr }
	check(n.t, json.Unmarshal([]byte(out), &w))
	return endpoint{lab.NewMachine(name, "/run/netns/"+network+"."+name), w.Address}
}

func (e endpoint) pings(to endpoint) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return e.Command(ctx, "ping", "-6", "-c", "1", "-W", "2", to.address.String()).Run() == nil
}

// streams sends 50 packets a second for ten seconds; the function that it gives waits
// for the end and tells how many were not answered.
func (e endpoint) streams(to endpoint) func(*testing.T) int { return e.streamsFor(to, 10*time.Second) }

// reaches waits until one workload hears another.
func (e endpoint) reaches(t *testing.T, to endpoint) {
	t.Helper()
	eventually(t, fmt.Sprintf("%v hears %v", e.address, to.address), func() bool { return e.pings(to) })
}

// shows waits until a node knows a network's /64s and workloads, its own and those
// of the others.
func (n *node) shows(network string, prefixes, workloads int) {
	n.t.Helper()
	await(n.t, patience, func() error {
		var shown struct {
			Prefixes  map[string]string
			Workloads []struct{ Name string }
		}
		err := n.tells(&shown, "network", "show", network)
		if err == nil && (len(shown.Prefixes) != prefixes || len(shown.Workloads) != workloads) {
			err = fmt.Errorf("%s shows %+v, want %d prefixes and %d workloads", n.name, shown, prefixes, workloads)
		}
		return err
	})
}
