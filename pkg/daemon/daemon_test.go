package daemon_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
	"github.com/zosnet/zosnet/test/testenv"
)

// green is a network in which web may ask db at one port, and nobody else may
// ask db anything.
const green = `network: green
nodes: [n1]
services:
  web: {ports: [tcp/80]}
  db: {ports: [tcp/5432]}
rules:
  - allow: {from: web, to: db, ports: [tcp/5432]}
  - deny: {from: inside, to: db}
expose:
  - {service: web}
`

const (
	silence = 1500 * time.Millisecond // after which nothing comes any more
	answer  = 20 * time.Second        // within which it comes, however busy the machine is
)

// node is a lab with a daemon, for one test.
type node struct {
	*lab.Lab
	daemon *lab.Daemon
	t      *testing.T
}

func start(t *testing.T, document string) *node {
	t.Helper()
	testenv.RequireBPF(t)
	testenv.RequireTool(t, "nsenter")
	name := "daemon-" + strings.ToLower(strings.TrimPrefix(t.Name(), "Test"))
	l, err := lab.New(t.Context(), lab.Config{Name: name[:min(len(name), 20)], Zosnet: testenv.Zosnet(t), NodeDocument: document})
	if err != nil {
		t.Fatal(err)
	}
	n := &node{Lab: l, t: t}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the daemon's log:\n%s", n.log())
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	if n.daemon, err = l.StartDaemon(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *node) log() string {
	text, err := os.ReadFile(n.Path("daemon.log"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func (n *node) cli(args ...string) string {
	n.t.Helper()
	out, err := n.daemon.CLI(n.t.Context(), args...)
	if err != nil {
		n.t.Fatal(err)
	}
	return out
}

// fails runs a command that must fail and gives what it said.
func (n *node) fails(code int, args ...string) string {
	n.t.Helper()
	_, err := n.daemon.CLI(n.t.Context(), args...)
	var failure *lab.Failure
	if !errors.As(err, &failure) || failure.Code != code {
		n.t.Fatalf("zosnet %s: %v; want exit status %d", strings.Join(args, " "), err, code)
	}
	return failure.Stderr
}

func (n *node) attach(service, name string) *lab.Workload {
	n.t.Helper()
	w, err := n.daemon.Attach(n.t.Context(), "green", service, name)
	if err != nil {
		n.t.Fatal(err)
	}
	return w
}

func (n *node) write(name, text string) string {
	n.t.Helper()
	path := n.Path(name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		n.t.Fatal(err)
	}
	return path
}

func (n *node) connects(from *lab.Machine, to netip.AddrPort, want probe.Outcome) {
	n.t.Helper()
	within := answer
	if want == probe.Silent {
		within = silence
	}
	got, err := probe.Connect(n.t.Context(), from, to, within)
	if err != nil || got != want {
		n.t.Errorf("connect %s → %v: %s %v, want %s", from.Name, to, got, err, want)
	}
}

func (n *node) eventually(bound time.Duration, try func() error) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), bound)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			n.t.Fatalf("still so after %v: %v", bound, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// One network's way through everything: applied, attached, enforced, traced.
func TestThrough(t *testing.T) {
	n := start(t, "")
	if err := n.daemon.Apply(t.Context(), green); err != nil {
		t.Fatal(err)
	}
	web, db := n.attach("web", "web-1"), n.attach("db", "db-1")
	for _, port := range []uint16{5432, 5433} {
		s, err := probe.ServeHTTP(db.Machine, netip.AddrPortFrom(db.Address, port), "db")
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
	}
	n.connects(web.Machine, netip.AddrPortFrom(db.Address, 5432), probe.Answered)
	n.connects(web.Machine, netip.AddrPortFrom(db.Address, 5433), probe.Silent)
	n.connects(n.Outside, netip.AddrPortFrom(db.Address, 5432), probe.Silent)

	for _, tt := range []struct {
		from, to, port string
		allowed        bool
		reason, rule   string
	}{
		{"green/web", "green/db", "5432", true, "", "rules[0]"},
		{"green/web-1", "green/db-1", "5433", false, "policy_inside", "rules[1]"},
		{lab.OutsideIPv6.String(), "green/db", "5432", false, "policy_inbound", "default.inbound"},
		{lab.OutsideIPv6.String(), "green/web", "80", true, "", "expose[0]"},
	} {
		v, err := n.daemon.Trace(t.Context(), tt.from, tt.to, "--tcp", tt.port)
		if err != nil {
			t.Fatal(err)
		}
		if v.Allowed != tt.allowed || v.Allowed != (v.Verdict == "allowed") || v.Reason != tt.reason ||
			!strings.Contains(v.Rule, "green.yaml:") || !strings.Contains(v.Rule, tt.rule) || len(v.Sides) != 1 {
			t.Errorf("trace %s → %s tcp/%s: %+v", tt.from, tt.to, tt.port, v)
		}
	}

	var shown struct {
		Rules []struct {
			Entry string
			Flows int
		}
		Drops []struct {
			Reason  string
			Packets int
		}
	}
	if err := json.Unmarshal([]byte(n.cli("network", "show", "green", "-o", "json")), &shown); err != nil {
		t.Fatal(err)
	}
	if shown.Rules[0].Entry != "rules[0]" || shown.Rules[0].Flows == 0 || shown.Rules[1].Flows == 0 || len(shown.Drops) == 0 {
		t.Errorf("what was allowed and denied is not counted: %+v", shown)
	}

	for line, want := range map[string]string{
		"__complete network show ":                            "green",
		"__complete attach --network green --service ":        "web",
		"__complete detach ":                                  "green/web-1",
		"__complete trace --from ":                            "green/db-1",
		"__complete detach --network green --name ":           "db-1",
		"__complete attach --network elsewhere --service ":    ":4",
		"__complete network show -o ":                         "yaml",
		"__complete trace --from green/web --to green/d":      "green/db",
		"__complete delete ":                                  "green",
		"__complete attach --service web --network ":          "green",
		"__complete detach --name web-1 --network ":           "green",
		"__complete attach --network green --name x --netns ": ":0",
	} {
		args := strings.Split(line, " ")
		if out := n.cli(args...); !strings.Contains(out, want+"\n") {
			t.Errorf("%s: %q, want %s in it", line, out, want)
		}
	}
}

// A document that cannot be enforced as it stands is refused before it is
// stored, and so is what would take workloads' place away.
func TestRefusedBeforeStored(t *testing.T) {
	n := start(t, "")
	if err := n.daemon.Apply(t.Context(), green); err != nil {
		t.Fatal(err)
	}
	n.attach("db", "db-1")
	revision := func() string {
		var s struct{ Revision int64 }
		if err := json.Unmarshal([]byte(n.cli("status", "-o", "json")), &s); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(s.Revision)
	}
	before := revision()
	twice := n.write("twice.yaml", green)
	withoutDB := n.write("without-db.yaml", "network: green\nnodes: [n1]\nservices: {web: {}}\n")
	elsewhere := n.write("elsewhere.yaml", strings.Replace(green, "n1", "n2", 1))
	clash := n.write("clash.yaml", "network: green\nnodes: [n1]\nservices: {db: {}, db-1: {}}\n")
	long := n.write("long.yaml", "network: long\nnodes: [n1]\nservices: {web: {}}\nrules:\n"+strings.Repeat("  - allow: {from: web, to: web}\n", 5000))
	for _, tt := range []struct {
		code int
		args []string
		says string
	}{
		{2, []string{"apply", "-f", twice, "-f", twice}, "twice.yaml:1:10: network: found \"green\""},
		{1, []string{"apply", "-f", withoutDB}, "without service db: still attached to it: db-1"},
		{1, []string{"apply", "-f", withoutDB, "--dry-run"}, "without service db: still attached to it: db-1"},
		{1, []string{"apply", "-f", elsewhere}, "without node n1: still attached to it: db-1"},
		{1, []string{"apply", "-f", clash}, "the name \"db-1\" of a service is already used"},
		{2, []string{"apply", "-f", long}, "long.yaml:1:1: found 5000 rules"},
		{1, []string{"attach", "--network", "green", "--service", "db", "--name", "db-1"}, "already used"},
		{1, []string{"attach", "--network", "green", "--service", "cache", "--name", "cache-1"}, "no service \"cache\""},
		{1, []string{"attach", "--network", "blue", "--service", "web", "--name", "web-1"}, "no network \"blue\""},
		{2, []string{"attach", "--network", "green", "--service", "db", "--name", "db-2", "--netns", "/nowhere"}, "no such file"},
		{2, []string{"attach", "--network", "green", "--service", "db", "--name", "db-2", "--tap", "a/b"}, "want the name of an interface"},
		{1, []string{"detach", "green/db-7"}, "no workload \"db-7\""},
		{1, []string{"delete", "green"}, "still attached: db-1"},
		{1, []string{"network", "show", "blue"}, "no network \"blue\""},
		{2, []string{"trace", "--from", "green/web", "--to", "green/nobody", "--tcp", "1"}, "nobody"},
		{1, []string{"lockdown", "confirm"}, "nothing is being tried"},
	} {
		if said := n.fails(tt.code, tt.args...); !strings.Contains(said, tt.says) {
			t.Errorf("zosnet %s: %q, want %q in it", strings.Join(tt.args, " "), said, tt.says)
		}
	}
	if after := revision(); after != before {
		t.Errorf("the registry changed: revision %s → %s", before, after)
	}

	dry := n.cli("apply", "--dry-run", "--force", "-f", withoutDB)
	if !strings.Contains(dry, "Detached: green/db-1") || !regexp.MustCompile(`workload green/db-1 +remove`).MatchString(dry) {
		t.Errorf("a dry run says:\n%s", dry)
	}
	if after := revision(); after != before {
		t.Errorf("a dry run changed the registry")
	}
	n.cli("apply", "--force", "-f", withoutDB)
	if network, err := n.daemon.Network(t.Context(), "green"); err != nil || len(network.Workloads) > 0 {
		t.Errorf("after --force: %+v, %v", network, err)
	}
}

// A workload that cannot be made is taken back, and nothing else suffers.
func TestAttachIsTakenBack(t *testing.T) {
	n := start(t, "")
	if err := n.daemon.Apply(t.Context(), green); err != nil {
		t.Fatal(err)
	}
	h, err := n.Node.Netlink()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	foreign := netlink.NewLinkAttrs()
	foreign.Name = "foreign0"
	if err := h.LinkAdd(&netlink.Veth{LinkAttrs: foreign, PeerName: "foreign1"}); err != nil {
		t.Fatal(err)
	}
	for name, says := range map[string]string{
		"foreign0": "foreign0 already, which is not zosnet's: rename or remove it",
		"eth0":     "interface name eth0 is wanted by uplink eth0 and workload green/web-1",
	} {
		said := n.fails(1, "attach", "--network", "green", "--service", "web", "--name", "web-1", "--tap", name)
		if !strings.Contains(said, says) {
			t.Errorf("tap %s: it says %q, want %q in it", name, said, says)
		}
	}
	if network, err := n.daemon.Network(t.Context(), "green"); err != nil || len(network.Workloads) > 0 {
		t.Errorf("what is left: %+v, %v", network, err)
	}
	if _, err := n.daemon.Status(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	n.attach("web", "web-1")
}
