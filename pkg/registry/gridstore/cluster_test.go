package gridstore

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/zosnet/zosnet/pkg/registry"
	"github.com/zosnet/zosnet/pkg/trust"
)

// patience bounds every wait for something that must happen.
const patience = time.Minute

// grid is a grid under test: its CAs, nodes and members.
type testGrid struct {
	t                    testing.TB
	dir                  string
	ca                   *trust.CA // of nodes
	roots                *trust.Roots
	log                  *logged
	members              map[int]*registry.Member
	nodes                map[int]*testNode
	clientPort, peerPort uint16
}

type testNode struct {
	name     string
	key      *trust.NodeKey
	pem      []byte
	identity *trust.Identity
	tls      *tls.Config
}

// logged is a log that a test can read.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// ports gives each grid of a process its own: an etcd that was just closed may
// leave connections behind.
var ports atomic.Uint32

func newGrid(t testing.TB) *testGrid {
	t.Helper()
	requireNetwork(t)
	first := uint16(2000 + ports.Add(2))
	g := &testGrid{
		t: t, dir: t.TempDir(), log: &logged{}, members: map[int]*registry.Member{}, nodes: map[int]*testNode{},
		clientPort: first, peerPort: first + 1,
	}
	g.ca = must(trust.NewCA(time.Now()))
	g.roots = must(trust.ParseRoots(g.ca.CertificatePEM()))
	t.Cleanup(func() {
		for _, m := range g.members {
			if err := m.Close(); err != nil {
				t.Errorf("close a member: %v", err)
			}
		}
	})
	return g
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// first gives the first of two values.
func first[A, B any](a A, _ B, err error) A { return must(a, err) }

func nodeName(n int) string { return fmt.Sprintf("n%d", n) }

// node gives the keys of node n, which are made once.
func (g *testGrid) node(n int) *testNode {
	if g.nodes[n] == nil {
		node := &testNode{name: nodeName(n), key: must(trust.NewNodeKey())}
		g.nodes[n] = node
		node.pem = must(g.ca.Issue(g.request(n), controlAddress(n), time.Now()))
		node.identity = must(g.roots.Identity(node.name, node.pem))
		node.tls = &tls.Config{Certificates: []tls.Certificate{must(node.key.TLS(node.pem))}, RootCAs: g.roots.Pool(), ServerName: trust.MemberHostname}
	}
	return g.nodes[n]
}

func (g *testGrid) request(n int) *trust.Request {
	return must(trust.ParseRequest(must(g.nodes[n].key.Request(nodeName(n), [32]byte{byte(n)}))))
}

func (g *testGrid) client(n int) netip.AddrPort {
	return netip.AddrPortFrom(controlAddress(n), g.clientPort)
}
func (g *testGrid) peer(n int) netip.AddrPort {
	return netip.AddrPortFrom(controlAddress(n), g.peerPort)
}

// file writes a file of node n and gives its path.
func (g *testGrid) file(n int, name string, text []byte) string {
	path := filepath.Join(g.dir, nodeName(n), name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		g.t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		g.t.Fatal(err)
	}
	return path
}

func (g *testGrid) config(n int, members map[string]netip.AddrPort) registry.MemberConfig {
	node := g.node(n)
	return registry.MemberConfig{
		Name: node.name, Dir: filepath.Join(g.dir, node.name, "etcd"), Client: g.client(n), Peer: g.peer(n), Members: members,
		CertFile: g.file(n, "cert.pem", must(g.ca.IssueMember(g.request(n), controlAddress(n), time.Now()))),
		KeyFile:  g.file(n, "key.pem", must(node.key.PEM())), CAFile: g.file(n, "ca.pem", g.ca.CertificatePEM()),
		RevokedFile: g.file(n, "revoked.crl", first(g.ca.Revoke(g.roots, time.Now())).RevocationsDER()),
	}
}

// start starts a member and waits until it serves.
func (g *testGrid) start(n int, members map[string]netip.AddrPort) *registry.Member {
	g.t.Helper()
	m, err := registry.StartMember(g.t.Context(), g.config(n, members), g.log.logger())
	if err != nil {
		g.t.Fatal(err)
	}
	g.members[n] = m
	select {
	case <-m.Ready():
	case <-time.After(patience):
		g.t.Fatalf("member %d does not serve: %v\n%s", n, m.Err(), g.log)
	}
	return m
}

// single is a protected grid of one member, n1, with so many nodes admitted.
func single(t testing.TB, nodes int) *testGrid {
	t.Helper()
	g := newGrid(t)
	g.start(1, nil)
	g.protect(nodes)
	return g
}

func (g *testGrid) root() Root { return g.members[1].AsRoot }

func (g *testGrid) protect(nodes int) {
	g.t.Helper()
	g.ok(g.root().Protect(g.t.Context()))
	for n := 1; n <= nodes; n++ {
		g.admit(n)
	}
}

func (g *testGrid) admit(n int) {
	g.t.Helper()
	node := g.node(n)
	a := Admission{Node: node.name, Address: controlAddress(n), ControlKey: node.identity.ControlKey, Admitted: time.Now()}
	g.ok(g.root().Admit(g.t.Context(), a, node.pem, "", nil))
}

func (g *testGrid) ok(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

// join makes node n a member, through member by, by starting it.
func (g *testGrid) join(by, n int, start func(n int, members map[string]netip.AddrPort)) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), patience)
	defer cancel()
	members, err := g.members[by].AddMember(ctx, nodeName(n), g.peer(n))
	g.ok(err)
	start(n, members)
	for ; ctx.Err() == nil; time.Sleep(50 * time.Millisecond) { // until it has said its name
		if err = g.members[by].Promote(ctx, nodeName(n)); err == nil {
			return
		}
	}
	g.t.Fatalf("promote member %d: %v", n, err)
}

// spawn starts a member in a process of its own, and gives what kills that.
func (g *testGrid) spawn(n int, members map[string]netip.AddrPort) (kill func()) {
	g.t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), asMember+"="+string(must(json.Marshal(g.config(n, members)))))
	cmd.Stderr = g.log
	g.ok(cmd.Start())
	kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	g.t.Cleanup(kill)
	return kill
}

// giveLead makes a member of another process the leader. On a busy machine raft may
// give a transfer up without a word.
func (g *testGrid) giveLead(to string) {
	g.t.Helper()
	for range 5 {
		for _, m := range g.members {
			if !m.Leads() {
				continue
			}
			list, err := m.Members(g.t.Context())
			g.ok(err)
			if !slices.ContainsFunc(list, func(one registry.GridMember) bool { return one.Name == to && !one.Learner }) {
				g.t.Fatalf("%s is no member: %+v", to, list)
			}
			g.ok(m.AsRoot(g.t.Context(), func(ctx context.Context, etcd *clientv3.Client) error {
				resp, err := etcd.MemberList(ctx)
				if err != nil {
					return err
				}
				i := slices.IndexFunc(resp.Members, func(one *pb.Member) bool { return one.Name == to })
				ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
				defer cancel()
				_, _ = etcd.MoveLeader(ctx, resp.Members[i].ID)
				return nil
			}))
		}
		if !g.leads() {
			return
		}
	}
}

// leads tells whether a member of this process leads.
func (g *testGrid) leads() bool {
	for _, m := range g.members {
		if m.Leads() {
			return true
		}
	}
	return false
}

// etcd gives a bare client with the certificate of node n.
func (g *testGrid) etcd(n int, members ...int) *clientv3.Client {
	g.t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: g.endpoints(members...), TLS: checkServer(g.node(n).tls), DialTimeout: patience, Logger: zap.NewNop()})
	g.ok(err)
	g.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (g *testGrid) endpoints(members ...int) (list []string) {
	if len(members) == 0 {
		members = []int{1}
	}
	for _, n := range members {
		list = append(list, "https://"+g.client(n).String())
	}
	return list
}

// speak opens a TLS connection to member 1 and waits until the other side has
// judged our certificate: TLS 1.3 tells us of a refusal only when we read.
func speak(t testing.TB, g *testGrid, cfg *tls.Config, port uint16) error {
	t.Helper()
	cfg = cfg.Clone()
	cfg.NextProtos = []string{"h2"}
	conn, err := tls.Dial("tcp", netip.AddrPortFrom(controlAddress(1), port).String(), cfg)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	// The preface of HTTP/2 and empty settings, RFC 9113, 3.4.
	if _, err := conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 9))
	return err
}

func portText(port uint16) string { return fmt.Sprint(port) }
