package apply

import (
	"context"
	"fmt"
	"log/slog"
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
	"github.com/zosnet/zosnet/pkg/wireguard/userspace"
)

// TestMain is also the process that carries the packets where this kernel has no
// WireGuard: the daemon starts its own program with "wg".
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "wg" {
		if err := userspace.Run(context.Background(), slog.New(slog.NewTextHandler(os.Stderr, nil))); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// far is another node: a namespace on the uplink's other end with a WireGuard
// device, and the addresses of its workloads on lo.
type far struct {
	t       *testing.T
	path    string
	key     wireguard.PrivateKey
	devices *device.Devices
}

const (
	farWeb    = "2001:db8:bbbb:1::100" // bound: a workload of web
	farNobody = "2001:db8:bbbb:1::666" // in its /64, and nobody's
	nearWeb   = "2001:db8:aaaa:1::100"
)

func startFar(t *testing.T, near wireguard.PublicKey) *far {
	t.Helper()
	f := &far{t: t, path: filepath.Join(namespaceDir, "far"), key: wireguard.NewPrivateKey()}
	check(t, makeNamespace(f.path, "far"))
	file, err := openNamespace(f.path)
	check(t, err)
	check(t, netlink.LinkSetNsFd(link(t, "world0"), int(file.Fd())))
	check(t, file.Close())
	f.run("ip link set lo up")
	f.run("ip link set world0 up")
	f.run("ip addr add 192.0.2.2/24 dev world0")
	for _, a := range []string{farWeb, farNobody} {
		f.run("ip addr add " + a + "/128 dev lo")
	}
	in(t, f.path, func(*netlink.Handle) error {
		devices, err := device.Open(device.Config{RunDir: t.TempDir(), Log: discard})
		if err != nil {
			return err
		}
		f.devices = devices
		_, err = devices.Apply(wireguard.Device{Name: "zofar", PrivateKey: f.key, ListenPort: 21002, MTU: 1420,
			Peers: []wireguard.Peer{{PublicKey: near, Endpoint: netip.MustParseAddrPort("192.0.2.1:21001"),
				AllowedIPs: []netip.Prefix{netip.MustParsePrefix("2001:db8:aaaa:1::/64")}}}})
		return err
	})
	t.Cleanup(func() {
		in(t, f.path, func(*netlink.Handle) error { return f.devices.Remove("zofar") })
		f.devices.Close()
	})
	f.run("ip -6 route add 2001:db8:aaaa:1::/64 dev zofar")
	return f
}

// ownSockets hides the machine's WireGuard sockets from this process: all network
// namespaces share them.
func ownSockets(t *testing.T) {
	t.Helper()
	const dir = "/var/run/wireguard"
	check(t, os.MkdirAll(dir, 0o755))
	check(t, unix.Mount("wireguard", dir, "tmpfs", 0, ""))
}

func (f *far) run(line string) {
	f.t.Helper()
	if out, err := inNamespace(f.path, line); err != nil {
		f.t.Fatalf("far: %s: %v\n%s", line, err, out)
	}
}

func inNamespace(path, line string) ([]byte, error) {
	return exec.Command("nsenter", append([]string{"--net=" + path}, strings.Fields(line)...)...).CombinedOutput()
}

// acrossNodes is the state of network a on this node and on far.
func acrossNodes(t *testing.T, n *node, farKey wireguard.PublicKey) plan.State {
	t.Helper()
	state, err := plan.Compute(acrossInput(t, n, farKey))
	check(t, err)
	if len(state.Overlays) != 1 || len(state.Ignored) != 0 {
		t.Fatalf("overlays %+v, ignored %+v", state.Overlays, state.Ignored)
	}
	return state
}

// acrossInput is what that state follows from.
func acrossInput(t *testing.T, n *node, farKey wireguard.PublicKey) plan.Input {
	t.Helper()
	key, err := n.config.Keys.Make("a")
	check(t, err)
	return plan.Input{
		Node: &spec.Node{Name: "n1", Uplinks: []string{"up0"}, Endpoint: netip.MustParseAddr("192.0.2.1"),
			Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8:aaaa::/48")}},
		FlowSets: 1 << 18, FlowShares: 6, Attachments: []plan.Attachment{netns("a", "web-1", 0x100)},
		Networks: []plan.Record{{
			Document: &spec.Network{Name: "a", Nodes: []string{"n1", "n2"},
				Default:  spec.Default{Inside: spec.Allow, Inbound: spec.Deny, Outbound: spec.Allow},
				Services: []spec.Service{{Name: "web"}}},
			ID: 1, Prefix: netip.MustParsePrefix("2001:db8:aaaa:1::/64"), Services: map[string]uint32{"web": 1},
		}},
		Nodes: []plan.Node{{Name: "n2", Endpoint: netip.MustParseAddr("192.0.2.2"), Blocks: []netip.Prefix{netip.MustParsePrefix("2001:db8:bbbb::/56")}}},
		Parts: []plan.Part{
			{Network: "a", Node: "n1", Prefix: netip.MustParsePrefix("2001:db8:aaaa:1::/64"), PublicKey: key.Public(), Port: 21001},
			{Network: "a", Node: "n2", Prefix: netip.MustParsePrefix("2001:db8:bbbb:1::/64"), PublicKey: farKey, Port: 21002},
		},
		Remote: []plan.Remote{{Network: "a", Service: "web", Name: "web-2", Node: "n2", Addresses: []netip.Addr{netip.MustParseAddr(farWeb)}}},
	}
}

// pings tells whether one address hears another, from a namespace.
func pings(path, from, to string) bool {
	_, err := inNamespace(path, "ping -6 -c 1 -W 2 -I "+from+" "+to)
	return err == nil
}

// TestOverlay: a network's /64s on two nodes are one network, over WireGuard; who
// is nobody there stays out; a second pass changes nothing, nor does the next
// daemon; what is broken is put right, and what is not planned any more goes.
func TestOverlay(t *testing.T) {
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
	n.config.Keys, n.config.Devices = keys, devices
	check(t, netlink.AddrAdd(link(t, "up0"), &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("192.0.2.1/24"))}))
	key, err := keys.Make("a")
	check(t, err)
	f := startFar(t, key.Public())
	state := acrossNodes(t, n, f.key.Public())
	t.Cleanup(func() { // the process that carries its packets outlives us
		_ = devices.Remove(state.Overlays[0].Interface)
	})
	n.apply(state)
	n.unchanged(state)
	web := filepath.Join(namespaceDir, "a.web-1")

	eventually(t, 20*time.Second, "web-1 reaches web-2", func() bool { return pings(web, nearWeb, farWeb) })
	if !pings(f.path, farWeb, nearWeb) {
		t.Error("web-2 does not reach web-1")
	}
	if pings(f.path, farNobody, nearWeb) {
		t.Error("an address of the other node that is nobody's came in")
	}
	if pings(f.path, farWeb, "2001:db8:aaaa:1::1") {
		t.Error("the gateway answered over the overlay")
	}

	before, err := f.devicesRead()
	check(t, err)
	n.restart()
	n.config.Keys, n.config.Devices = keys, devices
	n.unchanged(state)
	if !pings(web, nearWeb, farWeb) {
		t.Error("after the next daemon began, web-1 does not reach web-2")
	}
	if after, err := f.devicesRead(); err != nil || !after.Peers[0].LastHandshake.Equal(before.Peers[0].LastHandshake) {
		t.Errorf("the next daemon made a new session: %v, %v before, %v", after.Peers[0].LastHandshake, before.Peers[0].LastHandshake, err)
	}

	overlay := state.Overlays[0].Interface
	for what, harm := range map[string]func() error{
		"programs": func() error { return n.datapath.DetachOverlay(overlay) },
		"route": func() error {
			return exec.Command("ip", "-6", "route", "del", "2001:db8:bbbb:1::/64", "dev", overlay).Run()
		},
		"link": func() error { return exec.Command("ip", "link", "set", overlay, "down").Run() },
	} {
		check(t, harm())
		var changes []plan.Change
		// The kernel takes a detached program off a moment later.
		eventually(t, 20*time.Second, what+" put right", func() bool {
			result, err := n.Apply(t.Context(), state)
			changes = append(changes, result.Changes...)
			return err == nil
		})
		if len(changes) == 0 {
			t.Errorf("%s: nothing was put right", what)
		}
		n.unchanged(state)
		eventually(t, 20*time.Second, "web-1 reaches web-2 again: "+what, func() bool { return pings(web, nearWeb, farWeb) })
	}

	alone := state
	alone.Overlays, alone.Bindings = nil, nil
	for _, b := range state.Bindings {
		if !b.Remote {
			alone.Bindings = append(alone.Bindings, b)
		}
	}
	n.apply(alone)
	n.unchanged(alone)
	if _, err := netlink.LinkByName(overlay); err == nil {
		t.Error("the overlay's interface is still there")
	}
	routes, err := readRoutes(strictHandle(t), RouteProtocol)
	check(t, err)
	for _, r := range routes {
		if r.kind == unix.RTN_UNICAST {
			t.Errorf("a route is left: %+v", r)
		}
	}
	entries, err := n.datapath.Maps().AllOverlays()
	check(t, err)
	if len(entries) != 0 {
		t.Errorf("the datapath still has the overlays %v", entries)
	}
}

func (f *far) devicesRead() (s wireguard.Status, err error) {
	in(f.t, f.path, func(*netlink.Handle) error {
		s, err = f.devices.Read("zofar")
		return nil
	})
	return s, err
}

func strictHandle(t *testing.T) *netlink.Handle {
	t.Helper()
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	check(t, err)
	t.Cleanup(h.Close)
	check(t, h.SetStrictCheck(true))
	return h
}
