package grid_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/grid"
	"github.com/zosnet/zosnet/pkg/trust"
	"github.com/zosnet/zosnet/test/testenv"
)

const inNamespace = "ZOSNET_TEST_GRID_NAMESPACE"

var (
	controlNet = netip.MustParsePrefix("fd5a:2f1c:77aa:9::/64")
	noon       = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
)

// TestMain runs the tests in a network namespace of their own, whose loopback
// interface has the control network's addresses. Without root those that need it
// are skipped.
func TestMain(m *testing.M) {
	if os.Getenv(inNamespace) != "" || os.Geteuid() != 0 {
		os.Exit(m.Run())
	}
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		os.Exit(exit.ExitCode())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// must gives a value that a test needs and is not about.
func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// fails holds an error to the reason that it must have; nil is none.
func fails(t *testing.T, err, reason error) {
	t.Helper()
	switch {
	case reason == nil && err != nil:
		t.Errorf("got error: %v", err)
	case reason != nil && !errors.Is(err, reason):
		t.Errorf("got error %v, want one that says: %v", err, reason)
	}
}

// addAddress gives the namespace's loopback interface an address.
func addAddress(t *testing.T, addr netip.Addr) {
	t.Helper()
	testenv.RequireRoot(t)
	lo := must(netlink.LinkByName("lo"))
	if err := netlink.LinkSetUp(lo); err != nil {
		t.Fatal(err)
	}
	address := must(netlink.ParseAddr(addr.String() + "/128"))
	address.Flags = unix.IFA_F_NODAD // it can be bound at once
	if err := netlink.AddrReplace(lo, address); err != nil {
		t.Fatal(err)
	}
	testenv.WaitForAddress(t, addr)
}

// registry is what a grid's registry holds of nodes and tokens, in memory. Its
// changes are transactions: all or ErrStale.
type registry struct {
	sync.Mutex
	tokens       map[string]trust.PendingToken
	nodes        []grid.Node
	members      []string
	certificates map[string][]byte
	looked       func() // called after a token was looked up, if set
	down         error
}

func (r *registry) store() grid.Store {
	return grid.Store{
		Token: func(_ context.Context, id string) (*trust.PendingToken, error) {
			if r.looked != nil {
				defer r.looked()
			}
			r.Lock()
			defer r.Unlock()
			if token, ok := r.tokens[id]; ok {
				return &token, r.down
			}
			return nil, r.down
		},
		Nodes: func(context.Context) ([]grid.Node, error) {
			r.Lock()
			defer r.Unlock()
			return slices.Clone(r.nodes), r.down
		},
		Members: func(context.Context) ([]string, error) { return r.members, r.down },
		IsMember: func(_ context.Context, node string) (bool, error) {
			return slices.Contains(r.members, node), r.down
		},
		Certificate: func(_ context.Context, node string) ([]byte, error) { return r.certificates[node], r.down },
		Admit:       r.admit,
		Renew: func(_ context.Context, node string, key trust.ControlKey, certificate []byte) error {
			r.Lock()
			defer r.Unlock()
			i := slices.IndexFunc(r.nodes, func(n grid.Node) bool { return n.Name == node })
			if i < 0 {
				return grid.ErrStale
			}
			r.nodes[i].ControlKey, r.certificates[node] = key, certificate
			return nil
		},
	}
}

func (r *registry) admit(_ context.Context, a grid.Admission) error {
	r.Lock()
	defer r.Unlock()
	taken := slices.ContainsFunc(r.nodes, func(n grid.Node) bool { return n.Name == a.Node || n.Address == a.Address })
	if r.tokens[a.Token.ID].Used != nil || taken {
		return grid.ErrStale
	}
	r.tokens[a.Token.ID] = a.Token
	r.nodes = append(r.nodes, grid.Node{Name: a.Node, Address: a.Address, ControlKey: a.ControlKey})
	r.certificates[a.Node] = a.Certificate
	return nil
}

// inviter is a member with its invitation service running.
type inviter struct {
	*registry
	ca      *trust.CA
	roots   *trust.Roots
	service *grid.Service
	address netip.AddrPort
	key     trust.ControlKey
	log     *journal
}

// journal keeps every log line.
type journal struct {
	sync.Mutex
	strings.Builder
}

func (j *journal) Write(b []byte) (int, error) {
	j.Lock()
	defer j.Unlock()
	return j.Builder.Write(b)
}

func (j *journal) text() string {
	j.Lock()
	defer j.Unlock()
	return j.String()
}

// ports are handed out one by one, since all tests share a namespace.
var ports = make(chan uint16, 1)

func init() { ports <- 2391 }

func nextPort() uint16 {
	port := <-ports
	ports <- port + 1
	return port
}

func newInviter(t *testing.T) *inviter {
	t.Helper()
	ca := must(trust.NewCA(noon))
	in := &inviter{
		ca: ca, roots: must(trust.ParseRoots(ca.CertificatePEM())), key: trust.ControlKey{1}, log: &journal{},
		registry: &registry{tokens: map[string]trust.PendingToken{}, certificates: map[string][]byte{}, members: []string{"n1"}},
	}
	addr := must(grid.Address(controlNet, "n1", func(netip.Addr) bool { return false }))
	in.address = netip.AddrPortFrom(addr, nextPort())
	in.nodes = []grid.Node{{Name: "n1", Address: addr, ControlKey: in.key, Endpoint: netip.MustParseAddrPort("192.0.2.1:51820")}}
	own := in.certify(t, "n1", addr, in.ca.IssueMember)
	in.service = &grid.Service{
		CA: in.ca, Control: controlNet, Store: in.store(), Now: func() time.Time { return noon },
		Own: func() tls.Certificate { return own }, Roots: func() *trust.Roots { return in.roots },
		Log: slog.New(slog.NewJSONHandler(in.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	return in
}

type issue func(*trust.Request, netip.Addr, time.Time) ([]byte, error)

func (in *inviter) certify(t *testing.T, node string, addr netip.Addr, by issue) tls.Certificate {
	t.Helper()
	key := must(trust.NewNodeKey())
	request := must(trust.ParseRequest(must(key.Request(node, trust.ControlKey{1}))))
	return must(key.TLS(must(by(request, addr, noon))))
}

// serve runs the service until the test ends.
func (in *inviter) serve(t *testing.T) *inviter {
	t.Helper()
	addAddress(t, in.address.Addr())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	listener := must(in.service.Listen(ctx, in.address))
	go func() { done <- in.service.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the service ended with: %v", err)
		}
	})
	return in
}

// token makes a token of this node and keeps its pending half.
func (in *inviter) token() *trust.Token {
	token := must(trust.NewToken(trust.TokenAddress{
		CA: in.ca.Fingerprint(), ControlKey: in.key, Service: in.address,
		Endpoints: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:51820")},
	}, noon.Add(time.Hour)))
	in.Lock()
	defer in.Unlock()
	in.tokens[token.ID()] = token.Pending()
	return token
}

func candidate(node string) grid.Candidate {
	key := must(trust.NewNodeKey())
	var control trust.ControlKey
	copy(control[:], "the control key of "+node)
	return grid.Candidate{Node: node, Key: key, ControlKey: control}
}

func join(t *testing.T, token *trust.Token, c grid.Candidate) (*grid.Membership, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return grid.Join(ctx, token, c, noon)
}
