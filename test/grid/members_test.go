package grid_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"github.com/zosnet/zosnet/pkg/trust"
	"github.com/zosnet/zosnet/test/lab"
)

// members asks a node something about the members, and gives them by role.
func (n *node) members(args ...string) (roles map[string]string, warnings []string) {
	n.t.Helper()
	out, err := n.cli(append(append([]string{"grid"}, args...), "-o", "json")...)
	check(n.t, err)
	var list struct {
		Members  []struct{ Node, Role string }
		Warnings []string
	}
	check(n.t, json.Unmarshal([]byte(out), &list))
	roles = map[string]string{}
	for _, m := range list.Members {
		roles[m.Node] = m.Role
	}
	return roles, list.Warnings
}

// eventually waits for what a node hears of later.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	await(t, patience, func() error {
		if !is() {
			return fmt.Errorf("it is not so that %s", what)
		}
		return nil
	})
}

// TestMembers: three nodes become members one by one; the first dies, and the others
// go on, take it out, and take over what only it could do. It comes back as a node
// that is no member.
func TestMembers(t *testing.T) {
	t.Parallel()
	_, nodes := newGrid(t, make([]lab.NodeConfig, 3)...)
	first, second, third := nodes[0], nodes[1], nodes[2]
	for _, n := range nodes {
		n.start()
	}
	first.place("grid", "init")
	token := first.token()
	second.place("grid", "join", token)
	third.place("grid", "join", first.token())

	for _, wrong := range []struct {
		at   *node
		args []string
		says string
	}{
		{second, []string{"promote", third.name}, first.name}, // it is no member: it says who is
		{first, []string{"promote", "nobody"}, "nobody"},
		{first, []string{"demote", first.name}, "last member"},
	} {
		if _, err := wrong.at.cli(append([]string{"grid"}, wrong.args...)...); err == nil || !strings.Contains(err.Error(), wrong.says) {
			t.Errorf("%s at %s: %v", wrong.args, wrong.at.name, err)
		}
	}
	if _, warnings := first.members("promote", second.name); len(warnings) != 1 {
		t.Errorf("of two members it warns %q", warnings)
	}
	interrupted := make(chan error, 1)
	go func() {
		_, err := first.cli("grid", "promote", third.name)
		interrupted <- err
	}()
	eventually(t, "the third is told to start its member", func() bool { return third.identity(t).Member })
	first.stop(unix.SIGKILL)
	if err := <-interrupted; err == nil {
		t.Log("it was faster than the kill")
	}
	first.start()
	eventually(t, "it serves again", func() bool { _, err := first.cli("grid", "token"); return err == nil })
	first.members("promote", third.name)                    // finishes it
	roles, warnings := first.members("promote", third.name) // the same again
	if len(roles) != 3 || len(warnings) != 0 || roles[third.name] != "voter" && roles[third.name] != "leader" {
		t.Errorf("three members: %v, %q", roles, warnings)
	}
	for _, n := range nodes {
		eventually(t, n.name+" knows three members", func() bool { return len(n.place("grid", "show").Members) == 3 })
	}

	first.stop(unix.SIGKILL)
	t.Run("the others go on", func(t *testing.T) {
		network := "m" + own()
		page := filepath.Join(second.dir, "network.yaml")
		text := fmt.Sprintf("network: %s\nnodes: [%s, %s]\nservices: {web: {}}\n", network, second.name, third.name)
		check(t, os.WriteFile(page, []byte(text), 0o600))
		key := second.ownerKey("owner.key")
		_, err := third.cli("apply", "--key", key, "-f", page)
		check(t, err)
		second.hasNetwork(network, true)
		_, err = second.cli("delete", network, "--key", key)
		check(t, err)
		third.hasNetwork(network, false)
	})
	t.Run("the dead one is taken out", func(t *testing.T) {
		roles, warnings := second.members("demote", first.name)
		if len(roles) != 2 || roles[first.name] != "" || len(warnings) != 2 {
			t.Errorf("members %v, warnings %q", roles, warnings)
		}
		first.start()
		registry := filepath.Join(first.dir, "state", "grid", "etcd")
		eventually(t, "what is left of its registry goes", func() bool { _, err := os.Stat(registry); return os.IsNotExist(err) })
		eventually(t, "it knows that it is no member", func() bool {
			return !slices.Contains(first.place("grid", "show").Members, first.name)
		})
	})
	t.Run("with a copy of the CA's key another one lets nodes in, and takes certificates back", func(t *testing.T) {
		for _, file := range []string{"ca.key", "own-ca.pem"} {
			text, err := os.ReadFile(filepath.Join(first.dir, "state", "grid", file))
			check(t, err)
			check(t, os.WriteFile(filepath.Join(second.dir, "state", "grid", file), text, 0o600))
		}
		second.stop(unix.SIGTERM)
		second.start()
		eventually(t, "it serves again", func() bool { _, err := second.cli("grid", "token"); return err == nil })
		if !first.identity(t).Member {
			t.Error("its certificate was taken back by somebody who has no key of the CA")
		}
		second.members("demote", first.name)
		eventually(t, "its certificate is not one of a member", func() bool { return !first.identity(t).Member })
		second.members("promote", first.name)
		eventually(t, "it knows three members", func() bool { return len(first.place("grid", "show").Members) == 3 })
	})
	t.Run("a certificate is renewed in time", func(t *testing.T) {
		third.stop(unix.SIGTERM)
		third.age(t, second, first.place("grid", "show").Address)
		before := third.identity(t).Expires
		third.start()
		eventually(t, "it is renewed", func() bool { return third.identity(t).Expires.After(before) })
		if !third.identity(t).Member {
			t.Error("renewed, it is no member any more")
		}
	})
	t.Run("two of three are lost, and one goes on alone", func(t *testing.T) { testRecover(t, second, first, third) })
	searchSecrets(t, nodes, token)
}

// testRecover: of three members the others die, and the one that has the CA's key makes
// itself the only one. The others come back, both at once: a majority of what was.
func testRecover(t *testing.T, left *node, others ...*node) {
	refused := func(why string) {
		t.Helper()
		if _, err := left.cli("grid", "recover", "--yes"); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("recovered where %q is to be said: %v", why, err)
		}
	}
	refused("not lost")
	others[0].stop(unix.SIGKILL)
	refused("not lost")
	others[1].stop(unix.SIGKILL)
	for _, args := range [][]string{{"members"}, {"demote", others[0].name}} {
		if _, err := left.cli(append([]string{"grid"}, args...)...); err == nil || !strings.Contains(err.Error(), "zosnet grid recover") {
			t.Errorf("without a majority, %s: %v", args, err)
		}
	}
	out, err := left.cli("grid", "recover")
	if err == nil || !strings.Contains(err.Error(), "nothing was changed") || strings.Count(out, "silent") != 2 {
		t.Errorf("what is known of the members: %v\n%s", err, out)
	}
	_, err = left.cli("grid", "recover", "--yes")
	check(t, err)
	if roles, _ := left.members("members"); len(roles) != 1 || roles[left.name] != "leader" {
		t.Errorf("it is not alone: %v", roles)
	}
	refused("not lost")
	for _, n := range others {
		check(t, n.Launch())
	}
	for _, n := range others {
		check(t, n.WaitReady(t.Context()))
		eventually(t, n.name+" is a client of the one that is left", func() bool {
			return slices.Equal(n.place("grid", "show").Members, []string{left.name}) && !n.identity(t).Member
		})
		eventually(t, n.name+" drops its part of what was lost", func() bool {
			_, err := os.Stat(filepath.Join(n.dir, "state/grid/etcd"))
			return os.IsNotExist(err)
		})
		n.followsRegistry()
		if !strings.Contains(n.log.String(), "recovered by another member") {
			t.Errorf("%s found it out by chance", n.name)
		}
	}
	if _, err := others[0].cli("grid", "recover"); err == nil || !strings.Contains(err.Error(), left.name) {
		t.Errorf("recovered by one that has nothing: %v", err)
	}
	left.lists(func(l listedNode) bool { return l.Live && l.Member == (l.Node == left.name) })
	left.members("promote", others[0].name)
	others[0].stop(unix.SIGTERM)
	others[0].start() // of the same recovery
	eventually(t, "it is a member again, also after a restart", func() bool {
		roles, _ := others[0].members("members")
		return roles[others[0].name] == "voter" || roles[others[0].name] == "leader"
	})
}

// file reads one of the node's files of the grid.
func (n *node) file(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(n.dir, "state", "grid", name))
	check(t, err)
	return text
}

func (n *node) identity(t *testing.T) *trust.Identity {
	t.Helper()
	roots, err := trust.ParseRoots(n.file(t, "ca.pem"))
	check(t, err)
	id, err := roots.Identity(n.name, n.file(t, "node.pem"))
	check(t, err)
	return id
}

// age gives a node a certificate as it would have it seven months after it was made,
// by the CA's key that another node has, in its files and in the registry.
func (n *node) age(t *testing.T, by *node, member netip.Addr) {
	t.Helper()
	ca, err := trust.ParseCA(by.file(t, "own-ca.pem"), by.file(t, "ca.key"))
	check(t, err)
	key, err := trust.ParseNodeKey(n.file(t, "node.key"))
	check(t, err)
	id := n.identity(t)
	text, err := key.Request(n.name, id.ControlKey)
	check(t, err)
	request, err := trust.ParseRequest(text)
	check(t, err)
	old, err := ca.IssueMember(request, id.Address, time.Now().Add(-210*24*time.Hour))
	check(t, err)
	check(t, os.WriteFile(filepath.Join(n.dir, "state", "grid", "node.pem"), old, 0o600))

	own, err := key.TLS(old)
	check(t, err)
	roots, err := trust.ParseRoots(n.file(t, "ca.pem"))
	check(t, err)
	etcd, err := clientv3.New(clientv3.Config{
		Endpoints: []string{"https://" + netip.AddrPortFrom(member, 2379).String()}, DialTimeout: patience, Logger: zap.NewNop(),
		TLS: &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{own}, RootCAs: roots.Pool()},
		DialOptions: []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return n.Dial(ctx, "tcp", address)
		})},
	})
	check(t, err)
	defer func() { _ = etcd.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	value, err := json.Marshal(map[string]any{"version": 1, "pem": string(old)})
	check(t, err)
	_, err = etcd.Put(ctx, "/zosnet/v1/nodes/"+n.name+"/certificate", string(value))
	check(t, err)
}
