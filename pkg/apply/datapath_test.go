package apply

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/vishvananda/netlink"

	"github.com/zosnet/zosnet/pkg/loader"
	bpf "github.com/zosnet/zosnet/pkg/maps"
	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/spec"
)

// entry is a network's entry in the datapath.
func (n *node) entry(id uint32) bpf.Network {
	n.t.Helper()
	entry, err := n.datapath.Maps().Network(id)
	check(n.t, err)
	return entry
}

// TestPolicyVersions: a policy gets a version when it changes and only then, and no
// version or generation is ever used twice for something else.
func TestPolicyVersions(t *testing.T) {
	if elsewhere(t) {
		return
	}
	n := startNode(t)
	g := grid{networks: []string{"acme"}, attachments: []plan.Attachment{netns("acme", "web-1", 256)}}
	n.apply(g.state(t))
	first := n.entry(1)

	n.restart()
	n.unchanged(g.state(t))
	if got := n.entry(1); got != first {
		t.Errorf("after a restart the entry is %+v, was %+v", got, first)
	}

	g.rules = map[string][]spec.Rule{"acme": {{Action: spec.Deny, Log: true,
		From: []spec.Selector{{Kind: spec.SelectCIDR, CIDR: netip.MustParsePrefix("2001:db8:77::/48")}},
		To:   []spec.Selector{{Kind: spec.SelectInside}}}}}
	n.apply(g.state(t))
	second := n.entry(1)
	if second.Policy != first.Policy+1 || second.Generation <= first.Generation {
		t.Errorf("with other rules the entry is %+v, was %+v", second, first)
	}
	if want := bpf.NetworkHasCIDRs | bpf.NetworkHasLogs; second.Flags != want {
		t.Errorf("flags are %d, want %d", second.Flags, want)
	}
	if held := n.datapath.Maps().PolicyVersions(1); !cmp.Equal(held, []uint32{second.Policy}) {
		t.Errorf("the maps hold versions %v, want %d alone", held, second.Policy)
	}

	// Without the ledger it is written again, as a version of its own.
	check(t, os.Remove(filepath.Join(n.dir, "run", "applied.json")))
	n.restart()
	n.apply(g.state(t))
	third := n.entry(1)
	if third.Policy <= second.Policy || third.Generation <= second.Generation {
		t.Errorf("without the ledger the entry is %+v, was %+v", third, second)
	}

	// Flows of a network that is gone are not taken for those of the next of its id.
	n.apply(grid{}.state(t))
	n.apply(grid{networks: []string{"other"}}.state(t))
	if got := n.entry(1); got.Generation <= third.Generation {
		t.Errorf("the next network of the id begins at generation %d, the last one ended at %d", got.Generation, third.Generation)
	}
}

// TestGeneration: flows are judged again when somebody comes, goes or becomes
// another service in their network, and in no other.
func TestGeneration(t *testing.T) {
	if elsewhere(t) {
		return
	}
	n := startNode(t)
	g := grid{networks: []string{"acme", "beta"}, attachments: []plan.Attachment{netns("acme", "web-1", 256), netns("beta", "web-1", 256)}}
	n.apply(g.state(t))
	came := netns("acme", "web-2", 257)
	became := came
	became.Service = "db"
	for _, step := range []struct {
		name     string
		attached []plan.Attachment
	}{
		{"comes", []plan.Attachment{came}},
		{"becomes another service", []plan.Attachment{became}},
		{"goes", nil},
	} {
		t.Run(step.name, func(t *testing.T) {
			acme, beta := n.entry(1), n.entry(2)
			g := g
			g.attachments = append(g.attachments[:2:2], step.attached...)
			n.apply(g.state(t))
			if got := n.entry(1); got.Generation <= acme.Generation || got.Policy != acme.Policy {
				t.Errorf("acme is %+v, was %+v", got, acme)
			}
			if got := n.entry(2); got != beta {
				t.Errorf("beta is %+v, was %+v", got, beta)
			}
			n.unchanged(g.state(t))
		})
	}
}

// TestLearnedBindings: what the datapath has learned of a VM stays, whether the plan
// knows of it or not; it goes with the VM.
func TestLearnedBindings(t *testing.T) {
	if elsewhere(t) {
		return
	}
	n := startNode(t)
	g := grid{networks: []string{"acme"}, attachments: []plan.Attachment{tap("acme", "vm", "vm0", 256)}}
	s := g.state(t)
	n.apply(s)
	vm := ofTenants(s)[0]
	index := uint32(link(t, "vm0").Attrs().Index)
	address := netip.MustParseAddr("2001:db8:aaaa:1::abcd")
	key := bpf.BindingOf(address, 1)
	learned := bpf.Binding{Network: 1, Service: vm.ServiceID, Workload: vm.ID, Ifindex: index,
		Kind: bpf.PortTap, Learned: 1, Mac: bpf.MAC{Bytes: vm.MAC}}
	check(t, n.datapath.Maps().Bindings.Put(&key, &learned))
	ports, err := n.datapath.Maps().AllPorts()
	check(t, err)
	port := ports[index]
	if port.Learnable != Learnable {
		t.Errorf("the VM may learn %d addresses, want %d", port.Learnable, Learnable)
	}
	port.Learned = 1
	check(t, n.datapath.Maps().Ports.Put(&index, &port))

	held := func() bool {
		all, err := n.datapath.Maps().AllBindings()
		check(t, err)
		return all[key] == learned
	}
	n.unchanged(s)
	if !held() {
		t.Error("a learned address is lost")
	}
	g.learned = []plan.Learned{{Network: "acme", Workload: "vm", Address: address, MAC: vm.MAC}}
	n.unchanged(g.state(t))
	if !held() {
		t.Error("a learned address is lost once the plan knows it")
	}

	g.attachments, g.learned = []plan.Attachment{tap("acme", "vm2", "vm0", 257)}, nil
	n.apply(g.state(t))
	if held() {
		t.Error("another VM at a tap of the same name has the address")
	}
	n.unchanged(g.state(t))
}

// TestLockdown: openings are versions; a trial stands beside them until its
// deadline, also over a restart.
func TestLockdown(t *testing.T) {
	if elsewhere(t) {
		return
	}
	n := startNode(t)
	opening := func(from string, port uint16) []spec.LockdownAllow {
		return []spec.LockdownAllow{{From: netip.MustParsePrefix(from), Ports: []spec.Ports{{Proto: spec.ProtoTCP, First: port, Last: port}}}}
	}
	read := func() bpf.Node {
		t.Helper()
		node, err := n.datapath.Maps().ReadNode()
		check(t, err)
		return node
	}
	g := grid{lockdown: opening("203.0.113.0/24", 22)}
	n.apply(g.state(t))
	first := read()
	if first.Lockdown == 0 || first.TrialDeadline != 0 {
		t.Fatalf("with an opening the node is %+v", first)
	}
	n.restart()
	n.unchanged(g.state(t))

	g.trial = &plan.Trial{Allow: opening("2001:db8::/32", 443), Deadline: time.Now().Add(time.Minute)}
	n.apply(g.state(t))
	trial := read()
	left := time.Duration(trial.TrialDeadline - bpf.BootTime())
	if trial.Lockdown != first.Lockdown || trial.LockdownTrial == first.Lockdown || left < 30*time.Second || left > time.Minute {
		t.Errorf("in a trial the node is %+v with %v left", trial, left)
	}
	n.restart()
	n.unchanged(g.state(t))

	confirmed := grid{lockdown: g.trial.Allow}
	n.apply(confirmed.state(t))
	if got := read(); got.TrialDeadline != 0 || got.Lockdown == first.Lockdown {
		t.Errorf("confirmed, the node is %+v", got)
	}
	n.unchanged(confirmed.state(t))

	g.trial.Deadline = time.Now().Add(-time.Second)
	n.apply(g.state(t))
	over := read()
	if over.TrialDeadline != 0 {
		t.Errorf("a trial that is over is begun: %+v", over)
	}
	g.trial.Deadline = time.Now().Add(time.Minute)
	n.apply(g.state(t))
	g.trial = nil
	n.apply(g.state(t))
	if got := read(); got.TrialDeadline != 0 || got.Lockdown != over.Lockdown {
		t.Errorf("taken back, the node is %+v, was %+v", got, over)
	}
	n.unchanged(g.state(t))
}

// TestUplinks: an uplink is guarded the moment it is there, and what is none is left
// alone.
func TestUplinks(t *testing.T) {
	if elsewhere(t) {
		return
	}
	n := startNode(t)
	g := grid{networks: []string{"acme"}, uplinks: []string{"up0", "up1"}}
	n.apply(g.state(t))
	n.unchanged(g.state(t))
	addVeth := func(name, peer string) {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = name
		veth := netlink.NewVeth(attrs)
		veth.PeerName = peer
		check(t, netlink.LinkAdd(veth))
	}
	programs := func(ifname string) int {
		attached, err := n.datapath.Attachments()
		check(t, err)
		count := 0
		for _, a := range attached {
			if a.Interface == ifname {
				count++
			}
		}
		return count
	}
	uplinks := func() int {
		all, err := n.datapath.Maps().AllUplinks()
		check(t, err)
		return len(all)
	}

	addVeth("up1", "world1")
	n.apply(g.state(t))
	if programs("up1") != 3 || programs("world1") != 0 || uplinks() != 2 {
		t.Errorf("up1 has %d programs, world1 %d; %d uplinks", programs("up1"), programs("world1"), uplinks())
	}
	n.unchanged(g.state(t))

	check(t, netlink.LinkDel(link(t, "up1")))
	n.apply(g.state(t))
	if uplinks() != 1 {
		t.Errorf("%d uplinks after one has gone", uplinks())
	}
	n.unchanged(g.state(t))

	addVeth("up1", "world1")
	n.apply(g.state(t))
	if programs("up1") != 3 {
		t.Errorf("back again, up1 has %d programs", programs("up1"))
	}

	g.uplinks = []string{"up0"}
	n.apply(g.state(t))
	if programs("up1") != 0 || programs("up0") != 3 || uplinks() != 1 {
		t.Errorf("up1 has %d programs, up0 %d; %d uplinks", programs("up1"), programs("up0"), uplinks())
	}
	n.unchanged(g.state(t))
}

// TestBackstop: the early table lets pass what the daemon has looked at.
func TestBackstop(t *testing.T) {
	if elsewhere(t) {
		return
	}
	n := startNode(t)
	n.apply(two.state(t))
	if _, present, err := loader.Backstop(); err != nil || present {
		t.Fatalf("apply made the table itself: %v", err)
	}
	check(t, loader.PutBackstop(nil))
	n.apply(two.state(t))
	known, _, err := loader.Backstop()
	check(t, err)
	links, err := netlink.LinkList()
	check(t, err)
	if len(known) != len(links) {
		t.Errorf("%v of %d links are known", known, len(links))
	}
}

// TestNoLedger: a runtime directory that cannot be written is an error, and the
// rules are in force nevertheless.
func TestNoLedger(t *testing.T) {
	if elsewhere(t) {
		return
	}
	n := startNode(t)
	run := filepath.Join(n.dir, "run")
	check(t, unix.Mount("run", run, "tmpfs", unix.MS_RDONLY, ""))
	defer func() { check(t, unix.Unmount(run, 0)) }()
	_, err := n.Apply(t.Context(), two.state(t))
	if err == nil {
		t.Fatal("no error without a ledger")
	}
	if n.entry(1).Policy == 0 {
		t.Error("the policy is not in force")
	}
}
