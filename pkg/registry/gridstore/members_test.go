package gridstore

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/zosnet/zosnet/pkg/registry"
)

// TestMembers follows a grid from its first member to two, and back to one.
func TestMembers(t *testing.T) {
	t.Parallel()
	g := single(t, 3)
	ctx, stop := context.WithTimeout(t.Context(), 2*patience)
	defer stop()
	etcd := g.etcd(1)
	put := func(key string) error {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		_, err := etcd.Put(ctx, key, `{"version":1}`)
		return err
	}
	g.ok(put("/zosnet/v1/nodes/n1/record"))

	members, err := g.members[1].AddMember(ctx, "n2", g.peer(2))
	g.ok(err)
	again, err := g.members[1].AddMember(ctx, "n2", g.peer(2))
	g.ok(err)
	if len(again) != 2 || again["n2"] != members["n2"] || again["n1"] != g.peer(1) {
		t.Errorf("added twice: %v, then %v", members, again)
	}
	g.ok(put("/zosnet/v1/nodes/n1/record")) // a member that does not start costs nothing
	g.start(2, members)
	list, err := g.members[1].Members(ctx)
	g.ok(err)
	if i := slices.IndexFunc(list, func(m registry.GridMember) bool { return m.Name == "n2" }); i < 0 || !list[i].Learner || list[i].Client != g.client(2) {
		t.Errorf("members %+v, want n2 as learner", list)
	}
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	g.ok(g.members[1].Promote(bounded, "n2"))
	g.ok(g.members[1].Promote(bounded, "n2"))
	if _, err := g.members[2].AddMember(ctx, "n2", g.peer(5)); err == nil {
		t.Error("a second member n2 was added")
	}
	t.Run("a member that is removed stops", func(t *testing.T) {
		// Asked for by several at once, it is gone for each of them.
		var missing *registry.NotFoundError
		gone := make(chan error)
		for range 4 {
			go func() { gone <- g.members[1].Remove(ctx, g.peer(2)) }()
		}
		for range 4 {
			if err := <-gone; err != nil && !errors.As(err, &missing) {
				t.Error(err)
			}
		}
		select {
		case <-g.members[2].Failed():
		case <-time.After(patience):
			t.Fatal("it goes on")
		}
		if err := g.members[2].Err(); !errors.Is(err, registry.ErrRemoved) {
			t.Errorf("error %v", err)
		}
		if err := g.members[1].Remove(ctx, g.peer(2)); !errors.As(err, &missing) {
			t.Errorf("removed twice: %v", err)
		}
		g.ok(put("/zosnet/v1/nodes/n1/record"))
	})
	t.Run("a member that comes back", func(t *testing.T) {
		g.ok(g.members[1].Close())
		g.start(1, nil)
		resp, err := g.etcd(1).Get(ctx, "/zosnet/v1/nodes/n1/record")
		if err != nil || len(resp.Kvs) != 1 {
			t.Errorf("it has %v, %v", resp, err)
		}
	})
}

// TestStrangersAreRefused: without a certificate of the right CA nobody speaks to a
// member, and nobody but a member to its peer port.
func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	g := single(t, 1)
	stranger := newGrid(t)
	for _, tt := range []struct {
		name string
		who  *testNode
		port uint16
	}{
		{"another grid's node, as client", stranger.node(1), g.clientPort},
		{"a node of this grid, as peer", g.node(1), g.peerPort},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := tt.who.tls.Clone()
			cfg.InsecureSkipVerify = true // what the member shows is not asked here
			if err := speak(t, g, cfg, tt.port); err == nil {
				t.Error("it was let in")
			}
		})
	}
	if err := speak(t, g, g.node(1).tls, g.clientPort); err != nil {
		t.Errorf("a node of this grid, as client: %v", err)
	}
	t.Run("a member whose certificate was revoked, as peer", func(t *testing.T) {
		node := g.node(1)
		pem := must(g.ca.Reissue(node.identity, true, time.Now()))
		cfg := node.tls.Clone()
		cfg.Certificates = []tls.Certificate{must(node.key.TLS(pem))}
		if err := speak(t, g, cfg, g.peerPort); err != nil {
			t.Fatalf("before: %v", err)
		}
		roots := first(g.ca.Revoke(g.roots, time.Now(), must(g.roots.Identity("n1", pem))))
		g.file(1, "revoked.crl", roots.RevocationsDER())
		if err := speak(t, g, cfg, g.peerPort); err == nil {
			t.Error("it was let in")
		}
	})
	t.Run("a server whose certificate is not a member's", func(t *testing.T) {
		c := g.open(1, func(c *Config) {
			c.TLS = c.TLS.Clone()
			c.TLS.ServerName = "somebody.else"
		})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if _, err := c.Roster(ctx); err == nil {
			t.Error("a client went to it")
		}
	})
	if conn, err := net.Dial("tcp", "[::1]:"+portText(g.clientPort)); err == nil {
		_ = conn.Close()
		t.Error("it listens on another address")
	}
}

// TestRoles: what a node may do is what its certificate's name lets it.
func TestRoles(t *testing.T) {
	t.Parallel()
	g := single(t, 2)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	n2 := g.etcd(2)
	raw := `{"version":1}`
	putOf := func(key string) clientv3.Op { return clientv3.OpPut(key, raw) }
	for _, tt := range []struct {
		name    string
		op      clientv3.Op
		allowed bool
	}{
		{"its own record", putOf("/zosnet/v1/nodes/n2/record"), true},
		{"a document", putOf("/zosnet/v1/networks/acme"), true},
		{"a claim", putOf("/zosnet/v1/workloads/acme/web-1"), true},
		{"a span", putOf("/zosnet/v1/spans/n1/acme"), true},
		{"reads another's record", clientv3.OpGet("/zosnet/v1/nodes/n1/record"), true},
		{"another's record", putOf("/zosnet/v1/nodes/n1/record"), false},
		{"a node whose name begins with its own", putOf("/zosnet/v1/nodes/n22/record"), false},
		{"deletes another's keys", clientv3.OpDelete("/zosnet/v1/nodes/n1/", clientv3.WithPrefix()), false},
		{"deletes everything", clientv3.OpDelete("/", clientv3.WithPrefix()), false},
		{"the roster", putOf("/zosnet/v1/roster/n3"), false},
		{"the members", putOf("/zosnet/v1/members/n2"), false},
		{"outside of the layout", putOf("/elsewhere"), false},
		{"reads outside of the layout", clientv3.OpGet("/elsewhere"), false},
		{"reads everything there is", clientv3.OpGet("\x00", clientv3.WithFromKey()), false},
		{"another's record beside its own, in one transaction", clientv3.OpTxn(nil, []clientv3.Op{
			putOf("/zosnet/v1/nodes/n2/record"), putOf("/zosnet/v1/nodes/n1/record"),
		}, nil), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := n2.Do(ctx, tt.op)
			if tt.allowed && err != nil {
				t.Errorf("refused: %v", err)
			}
			if !tt.allowed && !errors.Is(err, rpctypes.ErrPermissionDenied) {
				t.Errorf("got %v, want permission denied", err)
			}
		})
	}
	t.Run("no administration", func(t *testing.T) {
		for what, call := range map[string]func() error{
			"a user": func() error {
				_, err := n2.UserAddWithOptions(ctx, "x", "", &clientv3.UserAddOptions{NoPassword: true})
				return err
			},
			"a role": func() error { _, err := n2.UserGrantRole(ctx, "n2", "root"); return err },
			"a right": func() error {
				_, err := n2.RoleGrantPermission(ctx, "n2", "/", "0", clientv3.PermissionType(clientv3.PermReadWrite))
				return err
			},
			"auth off": func() error { _, err := n2.AuthDisable(ctx); return err },
			"a member": func() error { _, err := n2.MemberAddAsLearner(ctx, []string{"https://[fd00:7a6f::9]:1"}); return err },
			"root":     func() error { _, err := n2.Authenticate(ctx, "root", ""); return err },
			"a copy of everything": func() error {
				all, err := n2.Snapshot(ctx)
				if err == nil {
					_, err = io.Copy(io.Discard, all)
				}
				return err
			},
		} {
			if call() == nil {
				t.Errorf("node n2 got %s", what)
			}
		}
	})
	t.Run("a node that was not admitted", func(t *testing.T) {
		if _, err := g.etcd(3).Get(ctx, "/zosnet/v1/nodes/n1/record"); !errors.Is(err, rpctypes.ErrPermissionDenied) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a node that is expelled", func(t *testing.T) {
		g.ok(g.root().Expel(ctx, "n2"))
		g.ok(g.root().Expel(ctx, "n2"))
		if _, err := n2.Get(ctx, "/zosnet/v1/nodes/n1/record"); !errors.Is(err, rpctypes.ErrPermissionDenied) {
			t.Errorf("got %v", err)
		}
		err := g.members[1].AsRoot(ctx, func(ctx context.Context, root *clientv3.Client) error {
			resp, err := root.Get(ctx, "/zosnet/v1/nodes/n2/", clientv3.WithPrefix())
			if err == nil && len(resp.Kvs) != 0 {
				t.Errorf("its keys stay: %v", resp.Kvs)
			}
			return err
		})
		g.ok(err)
		g.admit(2)
		_, err = n2.Put(ctx, "/zosnet/v1/nodes/n2/record", raw)
		g.ok(err)
	})
	if err := g.root().Admit(ctx, Admission{Node: "root"}, nil, "", nil); err == nil {
		t.Error("a node called root was admitted")
	}
}
