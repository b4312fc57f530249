package apply

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/loader"
	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/spec"
	"github.com/zosnet/zosnet/test/testenv"
)

// A test that changes the kernel runs in a process of its own, which begins in new
// network and mount namespaces: whatever it does or leaves is gone with them.
const isolatedEnv = "ZOSNET_ISOLATED_TEST"

// elsewhere runs the test in such a process and tells the caller to return, or
// tells that this is that process.
func elsewhere(t *testing.T) bool {
	t.Helper()
	testenv.RequireBPF(t)
	if os.Getenv(isolatedEnv) != t.Name() {
		t.Parallel() // a process mostly waits for the kernel's grace periods
	}
	return alone(t)
}

// alone does it while no other test runs: for one that takes the whole machine, when
// others ask that drift is back within seconds.
func alone(t *testing.T) bool {
	t.Helper()
	testenv.RequireBPF(t)
	if os.Getenv(isolatedEnv) == t.Name() {
		prepare(t)
		return false
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$", "-test.v", "-test.timeout=240s")
	cmd.Env = append(os.Environ(), isolatedEnv+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	switch {
	case err != nil:
		t.Fatalf("%v\n%s", err, out)
	case !strings.Contains(string(out), "--- PASS: "+t.Name()):
		t.Fatalf("did not run:\n%s", out)
	case testing.Verbose():
		t.Logf("in its own namespaces:\n%s", out)
	}
	return true
}

// prepare gives the process an empty namespaceDir, and an uplink up0 whose other
// end is world0.
func prepare(t *testing.T) {
	t.Helper()
	check(t, os.MkdirAll(namespaceDir, 0o755))
	check(t, unix.Mount("netns", namespaceDir, "tmpfs", 0, ""))
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "up0"
	veth := netlink.NewVeth(attrs)
	veth.PeerName = "world0"
	check(t, netlink.LinkAdd(veth))
	for _, name := range []string{"lo", "up0", "world0"} {
		check(t, netlink.LinkSetUp(link(t, name)))
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, name string) netlink.Link {
	t.Helper()
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return l
}

// node is a node under test.
type node struct {
	*Applier
	t        *testing.T
	dir      string
	datapath *loader.Datapath
}

func startNode(t *testing.T) *node {
	t.Helper()
	n := &node{t: t, dir: t.TempDir()}
	n.open()
	t.Cleanup(func() {
		n.close()
		_ = unix.Unmount(n.bpffs(), unix.MNT_DETACH)
		goleak.VerifyNone(t)
	})
	return n
}

func (n *node) bpffs() string { return filepath.Join(n.dir, "bpf") }

func (n *node) open() {
	n.t.Helper()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	var err error
	n.datapath, err = loader.Open(loader.Options{BPFFS: n.bpffs(), Log: log})
	check(n.t, err)
	n.Applier, err = New(Config{Datapath: n.datapath, RunDir: filepath.Join(n.dir, "run"), Log: log})
	check(n.t, err)
}

func (n *node) close() {
	n.Close()
	if err := n.datapath.Close(); err != nil {
		n.t.Error(err)
	}
}

// restart is what a daemon that is killed and started again is to the kernel.
func (n *node) restart() {
	n.t.Helper()
	n.close()
	n.open()
}

// apply applies a state and gives what changed.
func (n *node) apply(s plan.State) []plan.Change {
	n.t.Helper()
	result, err := n.Apply(n.t.Context(), s)
	if err != nil {
		n.t.Fatalf("apply: %v", err)
	}
	return result.Changes
}

// unchanged fails unless the kernel is as the state says.
func (n *node) unchanged(s plan.State) {
	n.t.Helper()
	if changes := n.apply(s); len(changes) != 0 {
		n.t.Fatalf("applying the same state again changed %v", changes)
	}
}

// grid is what the tests plan from: one node's document and networks a, b, … of the
// services web and db.
type grid struct {
	networks    []string
	attachments []plan.Attachment
	rules       map[string][]spec.Rule
	learned     []plan.Learned
	uplinks     []string
	lockdown    []spec.LockdownAllow
	trial       *plan.Trial
}

func (g grid) state(t *testing.T) plan.State {
	t.Helper()
	in := plan.Input{
		Node: &spec.Node{Name: "n1", Uplinks: g.uplinks, Lockdown: spec.Lockdown{Allow: g.lockdown},
			Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8:aaaa::/48")}},
		FlowSets: 1 << 18, FlowShares: 6, Attachments: g.attachments, Learned: g.learned, Trial: g.trial,
	}
	if in.Node.Uplinks == nil {
		in.Node.Uplinks = []string{"up0"}
	}
	for i, name := range g.networks {
		in.Networks = append(in.Networks, plan.Record{
			Document: &spec.Network{Name: name, Nodes: []string{"n1"}, Rules: g.rules[name],
				Default:  spec.Default{Inside: spec.Allow, Inbound: spec.Deny, Outbound: spec.Allow},
				Services: []spec.Service{{Name: "web"}, {Name: "db"}}},
			ID: uint32(i + 1), Prefix: netip.MustParsePrefix(fmt.Sprintf("2001:db8:aaaa:%x::/64", i+1)),
			Services: map[string]uint32{"web": uint32(2*i + 1), "db": uint32(2*i + 2)},
		})
	}
	state, err := plan.Compute(in)
	check(t, err)
	return state
}

// ofTenants gives a state's workloads without the networks' own resolvers.
func ofTenants(s plan.State) []plan.Workload {
	return slices.DeleteFunc(slices.Clone(s.Workloads), plan.Workload.IsResolver)
}

// netns is a workload of a pause namespace.
func netns(network, name string, host uint32) plan.Attachment {
	return plan.Attachment{Network: network, Service: "web", Name: name, Kind: plan.WorkloadNetns, Host: host}
}

func tap(network, name, tapName string, host uint32) plan.Attachment {
	return plan.Attachment{Network: network, Service: "db", Name: name, Kind: plan.WorkloadTap, TapName: tapName, Host: host}
}

// eventually waits until a condition holds.
func eventually(t *testing.T, within time.Duration, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}

// in runs f in the namespace at a path.
func in(t *testing.T, path string, f func(h *netlink.Handle) error) {
	t.Helper()
	file, err := openNamespace(path)
	check(t, err)
	defer func() { _ = file.Close() }()
	check(t, inside(file, f))
}

var discard = slog.New(slog.DiscardHandler)
