package apply

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/plan"
	"github.com/zosnet/zosnet/pkg/spec"
	"github.com/zosnet/zosnet/pkg/wireguard"
	"github.com/zosnet/zosnet/pkg/wireguard/device"
)

const nearDB = "2001:db8:aaaa:1::101"

// person is somebody's machine on the uplink's other end, with a WireGuard device.
type person struct {
	path    string
	key     wireguard.PrivateKey
	devices *device.Devices
}

func startPerson(t *testing.T) *person {
	t.Helper()
	p := &person{path: filepath.Join(namespaceDir, "person"), key: wireguard.NewPrivateKey()}
	check(t, makeNamespace(p.path, "person"))
	file, err := openNamespace(p.path)
	check(t, err)
	check(t, netlink.LinkSetNsFd(link(t, "world0"), int(file.Fd())))
	check(t, file.Close())
	p.run(t, "ip link set world0 up")
	p.run(t, "ip addr add 192.0.2.2/24 dev world0")
	in(t, p.path, func(*netlink.Handle) (err error) {
		p.devices, err = device.Open(device.Config{RunDir: t.TempDir(), Log: discard})
		return err
	})
	return p
}

// join does what wg-quick does with a configuration.
func (p *person) join(t *testing.T, node wireguard.PublicKey, port uint16, address netip.Addr) {
	t.Helper()
	in(t, p.path, func(*netlink.Handle) error {
		_, err := p.devices.Apply(wireguard.Device{Name: "zaperson", PrivateKey: p.key, ListenPort: 21002, MTU: 1420,
			Peers: []wireguard.Peer{{PublicKey: node, Endpoint: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), port),
				AllowedIPs: []netip.Prefix{netip.MustParsePrefix("2001:db8:aaaa:1::/64")}}}})
		return err
	})
	t.Cleanup(func() {
		in(t, p.path, func(*netlink.Handle) error { return p.devices.Remove("zaperson") })
		p.devices.Close()
	})
	p.run(t, "ip -6 addr add "+address.String()+"/128 dev zaperson nodad")
	p.run(t, "ip -6 addr add 2001:db8:aaaa:1:8000::666/128 dev zaperson nodad")
	p.run(t, "ip -6 route add 2001:db8:aaaa:1::/64 dev zaperson")
}

func (p *person) run(t *testing.T, line string) {
	t.Helper()
	if out, err := inNamespace(p.path, line); err != nil {
		t.Fatalf("person: %s: %v\n%s", line, err, out)
	}
}

// accessible is the state of network a with web-1, db-1 and, unless revoked, alice, who
// may ping web.
func accessible(t *testing.T, entrance plan.EntranceKey, alice wireguard.PublicKey, revoked bool, rules ...spec.Rule) plan.State {
	t.Helper()
	ping := []spec.Ports{{Proto: spec.ProtoICMPv6, First: 128, Last: 128}}
	document := &spec.Network{Name: "a", Nodes: []string{"n1"}, Rules: rules,
		Default:  spec.Default{Inside: spec.Allow, Inbound: spec.Deny, Outbound: spec.Allow},
		Services: []spec.Service{{Name: "web", Ports: ping}, {Name: "db", Ports: ping}}}
	if !revoked {
		document.Access = []spec.Access{{Name: "alice", PublicKey: alice.String(), Allow: []spec.Selector{{Kind: spec.SelectService, Name: "web"}}}}
	}
	db := netns("a", "db-1", 0x101)
	db.Service = "db"
	state, err := plan.Compute(plan.Input{
		Node: &spec.Node{Name: "n1", Uplinks: []string{"up0"}, Endpoint: netip.MustParseAddr("192.0.2.1"),
			Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8:aaaa::/48")}},
		FlowSets: 1 << 18, FlowShares: 6, Attachments: []plan.Attachment{netns("a", "web-1", 0x100), db},
		Networks: []plan.Record{{Document: document, ID: 1, Prefix: netip.MustParsePrefix("2001:db8:aaaa:1::/64"),
			Services: map[string]uint32{"web": 1, "db": 2}, Access: map[string]uint32{"alice": 3}}},
		Entrances: []plan.EntranceKey{entrance},
	})
	check(t, err)
	if len(state.Ignored) != 0 {
		t.Fatalf("ignored %+v", state.Ignored)
	}
	return state
}

// TestEntrance: a person's device reaches what it is allowed and nothing else, is found
// by the workloads that may answer it, and is cut off when it goes from the document.
func TestEntrance(t *testing.T) {
	if elsewhere(t) {
		return
	}
	ownSockets(t)
	n := startNode(t)
	keys, err := wireguard.OpenKeys(filepath.Join(t.TempDir(), "keys"))
	check(t, err)
	devices, err := device.Open(device.Config{RunDir: t.TempDir(), Log: discard})
	check(t, err)
	t.Cleanup(devices.Close)
	n.config.Entrances, n.config.Devices = keys, devices
	check(t, netlink.AddrAdd(link(t, "up0"), &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("192.0.2.1/24"))}))
	key, err := keys.Make("a")
	check(t, err)
	entrance := plan.EntranceKey{Network: "a", PublicKey: key.Public(), Port: 29001}
	p := startPerson(t)
	state := accessible(t, entrance, p.key.Public(), false)
	iface, alice := state.Entrances[0].Interface, state.Devices[0].Address
	t.Cleanup(func() { _ = devices.Remove(iface) })
	n.apply(state)
	n.unchanged(state)
	p.join(t, key.Public(), entrance.Port, alice)

	web, db := filepath.Join(namespaceDir, "a.web-1"), filepath.Join(namespaceDir, "a.db-1")
	eventually(t, 20*time.Second, "alice reaches web-1", func() bool { return pings(p.path, alice.String(), nearWeb) })
	if pings(p.path, alice.String(), nearDB) {
		t.Error("alice reaches db-1, which nothing allows")
	}
	if pings(p.path, "2001:db8:aaaa:1:8000::666", nearWeb) {
		t.Error("alice's device came in under an address that is not hers")
	}
	if pings(web, nearWeb, alice.String()) {
		t.Error("web-1 reaches alice, which no rule allows")
	}

	named := accessible(t, entrance, p.key.Public(), false, spec.Rule{Action: spec.Allow,
		From: []spec.Selector{{Kind: spec.SelectService, Name: "db"}}, To: []spec.Selector{{Kind: spec.SelectAccess, Name: "alice"}}})
	n.apply(named)
	if !pings(db, nearDB, alice.String()) { // asks by neighbour discovery, and the bridge answers
		t.Error("db-1 does not reach alice, as a rule lets it")
	}

	for what, harm := range map[string]func() error{
		"programs": func() error { return n.datapath.DetachOverlay(iface) },
		"route":    func() error { return exec.Command("ip", "-6", "route", "del", alice.String(), "dev", iface).Run() },
		"neighbour": func() error {
			return exec.Command("ip", "-6", "neigh", "del", "proxy", alice.String(), "dev", state.Networks[0].Bridge).Run()
		},
		"link": func() error { return exec.Command("ip", "link", "set", iface, "down").Run() },
	} {
		check(t, harm())
		var changes []plan.Change
		eventually(t, 20*time.Second, what+" put right", func() bool { // a detached program goes a moment later
			result, err := n.Apply(t.Context(), named)
			changes = append(changes, result.Changes...)
			return err == nil && len(changes) > 0
		})
		n.unchanged(named)
		eventually(t, 20*time.Second, "alice reaches web-1 again: "+what, func() bool { return pings(p.path, alice.String(), nearWeb) })
	}

	revoked := accessible(t, entrance, p.key.Public(), true)
	cut := p.stream(t, alice)
	begin := time.Now()
	n.apply(revoked)
	if took := time.Since(begin); took > 5*time.Second { // a fraction of a second where nothing else runs
		t.Errorf("it took %v to revoke her", took)
	}
	n.unchanged(revoked)
	if !cut() {
		t.Error("alice still hears web-1")
	}
	if _, err := netlink.LinkByName(iface); err == nil {
		t.Error("the entrance is still there")
	}
	neighbours, err := netlink.NeighProxyList(0, unix.AF_INET6)
	check(t, err)
	entries, err := n.datapath.Maps().AllOverlays()
	check(t, err)
	if len(neighbours) != 0 || len(entries) != 0 {
		t.Errorf("left are the proxy neighbours %v and the datapath's %v", neighbours, entries)
	}
}

// stream begins to ping; the function that it gives waits, and tells whether the last
// half of the packets were not answered.
func (p *person) stream(t *testing.T, from netip.Addr) func() bool {
	t.Helper()
	out := make(chan string, 1)
	go func() {
		b, _ := inNamespace(p.path, fmt.Sprintf("ping -6 -i 0.1 -c 60 -W 1 -I %s %s", from, nearWeb))
		out <- string(b)
	}()
	eventually(t, 20*time.Second, "the stream has begun", func() bool { return p.sends(t) })
	return func() bool {
		text := <-out
		for seq := 30; seq <= 60; seq++ {
			if containsSeq(text, seq) {
				return false
			}
		}
		return containsSeq(text, 1)
	}
}

// sends tells whether a ping of this machine is under way.
func (p *person) sends(t *testing.T) bool {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	check(t, err)
	for _, path := range processes {
		if text, err := os.ReadFile(path); err == nil && strings.HasPrefix(string(text), "ping\x00-6\x00-i") && strings.Contains(string(text), nearWeb) {
			return true
		}
	}
	return false
}

func containsSeq(text string, seq int) bool {
	return strings.Contains(text, fmt.Sprintf("icmp_seq=%d ", seq))
}
