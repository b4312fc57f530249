package grid_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/zosnet/zosnet/pkg/grid"
	"github.com/zosnet/zosnet/pkg/trust"
)

var endpoint = netip.MustParseAddrPort("192.0.2.1:20479")

func TestFound(t *testing.T) {
	home := grid.NewHome(t.TempDir())
	_, err := home.State()
	fails(t, err, fs.ErrNotExist)
	state, err := home.Found("n1", trust.ControlKey{1}, endpoint, false, noon)
	if err != nil {
		t.Fatal(err)
	}
	again := must(home.State())
	if d := cmp.Diff(state, again, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}, netip.AddrPort{})); d != "" {
		t.Errorf("what is read is not what was written:\n%s", d)
	}
	fails(t, grid.CheckControlPrefix(state.Control), nil)
	key, cert := must2(home.Node())
	roots := must(home.Roots())
	id := must(roots.Identity("n1", cert))
	if !id.Member || id.Address != state.Address || id.ControlKey != (trust.ControlKey{1}) || !roots.Has(must(home.CA()).Fingerprint()) {
		t.Errorf("certified as %+v", id)
	}
	_ = must(key.TLS(cert))

	if f := home.Files(); len(must(tls.LoadX509KeyPair(f.Certificate, f.Key)).Certificate) != 1 {
		t.Errorf("%+v cannot be used by etcd", f)
	}

	_, err = home.Found("n1", trust.ControlKey{1}, endpoint, false, noon)
	if err == nil || !strings.Contains(err.Error(), "in a grid already") {
		t.Errorf("a second grid is made: %v", err)
	}
	if _, err := home.Draft(); err == nil {
		t.Error("a node in a grid joins another")
	}
}

func must2[A, B any](a A, b B, err error) (A, B) {
	if err != nil {
		panic(err)
	}
	return a, b
}

// Nothing in a home can be read by others, and nothing secret stands in what is not
// a key.
func TestHomeIsItsOwners(t *testing.T) {
	dir := t.TempDir()
	home := grid.NewHome(dir)
	if _, err := home.Found("n1", trust.ControlKey{1}, endpoint, false, noon); err != nil {
		t.Fatal(err)
	}
	count := 0
	err := filepath.WalkDir(filepath.Join(dir, "grid"), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info := must(d.Info())
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		if d.IsDir() {
			return nil
		}
		count++
		private := strings.Contains(string(must(os.ReadFile(path))), "PRIVATE KEY")
		if private != strings.HasSuffix(path, ".key") {
			t.Errorf("%s: private %v", path, private)
		}
		return nil
	})
	if err != nil || count < 6 {
		t.Errorf("%d files, %v", count, err)
	}
}

// A node that crashed while it joined asks again as the same, and a founding that
// crashed begins again.
func TestDraft(t *testing.T) {
	dir := t.TempDir()
	home := grid.NewHome(dir)
	first := must(must(home.Draft()).PEM())
	if second := must(must(home.Draft()).PEM()); string(first) != string(second) {
		t.Error("the key is another one after a crash")
	}
	if err := os.WriteFile(filepath.Join(dir, "grid.new", "ca.key"), []byte("half a k"), 0o600); err != nil {
		t.Fatal(err)
	}
	_ = must(home.Found("n1", trust.ControlKey{1}, endpoint, false, noon))
	_ = must(home.CA())
	if _, err := os.Stat(filepath.Join(dir, "grid.new")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the draft is still there: %v", err)
	}
}

// Two nodes from nothing: one makes a grid, the other joins it; both know it after
// a restart.
func TestFromFoundingToJoining(t *testing.T) {
	first, second := grid.NewHome(t.TempDir()), grid.NewHome(t.TempDir())
	state := must(first.Found("n1", trust.ControlKey{1}, endpoint, false, noon))
	addAddress(t, state.Address)
	in := &inviter{
		ca: must(first.CA()), roots: must(first.Roots()), log: &journal{}, key: trust.ControlKey{1},
		address: netip.AddrPortFrom(state.Address, nextPort()),
		registry: &registry{tokens: map[string]trust.PendingToken{}, certificates: map[string][]byte{}, members: []string{"n1"},
			nodes: state.Members},
	}
	key, cert := must2(first.Node())
	own := must(key.TLS(cert))
	in.service = &grid.Service{
		CA: in.ca, Control: state.Control, Store: in.store(), Now: func() time.Time { return noon },
		Own: func() tls.Certificate { return own }, Roots: func() *trust.Roots { return in.roots },
		Log: slog.New(slog.NewJSONHandler(in.log, nil)),
	}
	in.serve(t)
	c := grid.Candidate{Node: "n2", Key: must(second.Draft()), ControlKey: trust.ControlKey{2}}
	m, err := join(t, in.token(), c)
	if err != nil {
		t.Fatal(err)
	}
	fails(t, second.Joined("n2", m), nil)

	there := must(second.State())
	if there.Control != state.Control || there.Address != m.Address || len(there.Members) != 1 || there.Members[0] != state.Members[0] {
		t.Errorf("got %+v", there)
	}
	_, err = second.CA()
	fails(t, err, fs.ErrNotExist)
	nodeKey, nodeCert := must2(second.Node())
	current := must(nodeKey.TLS(nodeCert))
	roots := must(second.Roots())
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	renewed := must(grid.Renew(ctx, in.address, roots, current, c, noon))
	fails(t, second.SetCertificate(renewed), nil)
	if _, got := must2(second.Node()); string(got) != string(renewed) {
		t.Error("the renewed certificate is not kept")
	}
	if err := second.SetCertificate(cert); err == nil {
		t.Error("another node's certificate is kept")
	}
	members := slices.Concat(there.Members, []grid.Node{{Name: "n2", Address: m.Address, ControlKey: c.ControlKey}})
	must(second.SetMembers(members))
	if got := must(second.State()).Members; len(got) != 2 || got[1] != members[1] {
		t.Errorf("members after a restart: %+v", got)
	}
}

// What was revoked is kept, and goes on to be known whatever older list comes; what a
// member had of the registry goes as a whole.
func TestHomeOfAMember(t *testing.T) {
	home := grid.NewHome(t.TempDir())
	if !must(home.Found("n1", trust.ControlKey{1}, endpoint, false, noon)).Founding {
		t.Error("nothing says that the first registry is to be made")
	}
	if must(home.SetFounded()).Founding || must(home.State()).Founding {
		t.Error("once it is there it would be made again")
	}
	ca, first := must(home.CA()), must(home.Roots())
	_, pem := must2(home.Node())
	if list := must(os.ReadFile(home.Files().Revocations)); string(list) != string(first.RevocationsDER()) {
		t.Error("etcd reads another list")
	}
	next, _, err := ca.Revoke(first, noon, must(first.Identity("n1", pem)))
	fails(t, err, nil)
	fails(t, home.SetRevocations(next), nil)
	fails(t, home.SetRevocations(next), nil)
	fails(t, must(must(home.Roots()).Identity("n1", pem)).Valid(noon), trust.ErrRevoked)
	fails(t, home.SetRevocations(first), trust.ErrOlder)
	fails(t, must(must(home.Roots()).Identity("n1", pem)).Valid(noon), trust.ErrRevoked)

	dir, other := filepath.Dir(home.RegistryDir()), t.TempDir()
	_ = must(grid.NewHome(other).Found("n1", trust.ControlKey{1}, endpoint, false, noon))
	for _, file := range []string{"ca.key", "own-ca.pem"} { // as if a copy was put into the wrong place
		fails(t, os.WriteFile(filepath.Join(dir, file), must(os.ReadFile(filepath.Join(other, "grid", file))), 0o600), nil)
	}
	if _, err := home.CA(); err == nil || !strings.Contains(err.Error(), "another grid's") {
		t.Errorf("the CA of another grid: %v", err)
	}

	if home.HasRegistry() {
		t.Error("a node that never started its member has a registry")
	}
	fails(t, os.MkdirAll(filepath.Join(home.RegistryDir(), "member"), 0o700), nil)
	if !home.HasRegistry() {
		t.Error("a member has none")
	}
	fails(t, home.RemoveRegistry(), nil)
	if home.HasRegistry() {
		t.Error("it is still there")
	}

	if !must(home.SetRecovering()).Recovering || !must(home.State()).Recovering {
		t.Error("after a crash nothing says that it is to be the only member")
	}
	self := grid.Node{Name: "n1", Address: must(home.State()).Address, ControlKey: trust.ControlKey{1}, Endpoint: endpoint}
	_ = must(home.SetMembers([]grid.Node{self, {Name: "n2", Address: self.Address.Next(), ControlKey: trust.ControlKey{2}}}))
	for _, state := range []*grid.State{must(home.SetRecovered(7, self)), must(home.State())} {
		if state.Recovering || state.Recovery != 7 || !slices.Equal(state.Members, []grid.Node{self}) {
			t.Errorf("once it is the only one: %+v", state)
		}
	}
	if must(home.SetRecovery(8)).Recovery != 8 {
		t.Error("a member that joins later does not note of which recovery its part is")
	}
}
