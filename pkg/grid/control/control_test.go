package control_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/zosnet/zosnet/pkg/grid"
	"github.com/zosnet/zosnet/pkg/grid/control"
	"github.com/zosnet/zosnet/pkg/trust"
	"github.com/zosnet/zosnet/pkg/wireguard"
	"github.com/zosnet/zosnet/pkg/wireguard/device"
	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/testenv"
)

var network = netip.MustParsePrefix("fd5a:2f1c:77aa:9::/64")

// node is a network namespace with an underlay address and Devices.
type node struct {
	*lab.Machine
	t       *testing.T
	name    string
	outer   netip.Addr
	address netip.Addr
	key     wireguard.PrivateKey
	devices *device.Devices
}

func run(t *testing.T, line string, args ...any) {
	t.Helper()
	if err := try(line, args...); err != nil {
		t.Fatal(err)
	}
}

func try(line string, args ...any) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	words := strings.Fields(fmt.Sprintf(line, args...))
	_, err := lab.NewMachine("host", "/proc/self/ns/net").Run(ctx, words[0], words[1:]...)
	return err
}

// newNodes makes two nodes on one link, 192.0.2.1 and 192.0.2.2.
func newNodes(t *testing.T) (a, b *node) {
	t.Helper()
	testenv.RequireRoot(t)
	var list []*node
	for i := 1; i <= 2; i++ {
		namespace := fmt.Sprintf("zg-%d-%d", os.Getpid(), i)
		n := &node{
			Machine: lab.NewMachine(namespace, "/run/netns/"+namespace), t: t, name: namespace,
			outer: netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), key: wireguard.NewPrivateKey(),
			address: must(grid.Address(network, namespace, func(netip.Addr) bool { return false })),
		}
		run(t, "ip netns add %s", namespace)
		t.Cleanup(func() { _ = try("ip netns del %s", namespace) })
		n.open()
		list = append(list, n)
	}
	a, b = list[0], list[1]
	run(t, "ip -n %s link add eth0 type veth peer name eth0 netns %s", a.name, b.name)
	for _, n := range list {
		run(t, "ip -n %s addr add %s/24 dev eth0", n.name, n.outer)
		run(t, "ip -n %s link set eth0 up", n.name)
		run(t, "ip -n %s link set lo up", n.name)
	}
	return a, b
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func (n *node) open() {
	n.t.Helper()
	dir := must(os.MkdirTemp("", "zg"))
	n.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	err := n.Do(func() (err error) {
		n.devices, err = device.Open(device.Config{
			RunDir: dir, Command: []string{testenv.Zosnet(n.t), "wg"}, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		})
		return err
	})
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		if err := n.Do(func() error { return control.Remove(n.devices, n.name) }); err != nil {
			n.t.Errorf("clean up: %v", err)
		}
		n.devices.Close()
	})
}

func (n *node) public() trust.ControlKey { return trust.ControlKey(n.key.Public()) }

// put gives the node its interface, and what changed of the device.
func (n *node) put(services []uint16, peers ...grid.Peer) []string {
	n.t.Helper()
	var changes []string
	err := n.Do(func() (err error) {
		changes, err = control.Put(n.devices, control.Interface{
			Node: n.name, PrivateKey: n.key, ListenPort: grid.ControlPort, Address: n.address, Reach: network,
			Peers: peers, Services: services,
		})
		return err
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return changes
}

func (n *node) peer() grid.Peer {
	return grid.Peer{
		PublicKey: n.public(), Endpoint: netip.AddrPortFrom(n.outer, grid.ControlPort),
		AllowedIPs: []netip.Prefix{netip.PrefixFrom(n.address, 128)},
	}
}

// listen takes connections on an address of the node until the test ends.
func (n *node) listen(addr string) {
	n.t.Helper()
	listener, err := n.Listen("tcp", addr)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
}

func (n *node) reaches(to netip.AddrPort, within time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	conn, err := n.Dial(ctx, "tcp", to.String())
	if err == nil {
		_ = conn.Close()
	}
	return err
}

func (n *node) pings(to netip.Addr) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_, err := n.Run(ctx, "ping", "-6", "-c", "1", "-W", "2", to.String())
	return err == nil
}

// Of a node the others reach the grid's services on its control interface, and
// nothing else of the host, whatever listens there.
func TestControlInterface(t *testing.T) {
	member, other := newNodes(t)
	member.put(control.GridPorts, other.peer())
	other.put(nil, member.peer())
	for _, port := range []uint16{2391, 22} {
		member.listen(netip.AddrPortFrom(netip.IPv6Unspecified(), port).String())
		other.listen(netip.AddrPortFrom(netip.IPv6Unspecified(), port).String())
	}
	tests := []struct {
		name     string
		from, to *node
		port     uint16
		open     bool
	}{
		{"a service of a member", other, member, 2391, true},
		{"another port of the host", other, member, 22, false},
		{"a node that is no member has no services", member, other, 2391, false},
		{"nor another port of its host", member, other, 22, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			within := 30 * time.Second // the first handshake is part of it
			if !test.open {
				within = 2 * time.Second
			}
			err := test.from.reaches(netip.AddrPortFrom(test.to.address, test.port), within)
			if test.open != (err == nil) {
				t.Errorf("open %v: %v", test.open, err)
			}
		})
	}
	if err := other.reaches(netip.AddrPortFrom(member.outer, 22), 30*time.Second); err != nil {
		t.Errorf("the filter is not for the control interface alone: %v", err)
	}

	if changes := member.put(control.GridPorts, other.peer()); len(changes) != 0 {
		t.Errorf("the same again changes %v", changes)
	}
	if err := other.reaches(netip.AddrPortFrom(member.address, 2391), 30*time.Second); err != nil {
		t.Errorf("after the same again: %v", err)
	}
}

// What somebody does to the filter is put right, and told; a filter that is as it
// should be is not touched.
func TestFilterIsRestored(t *testing.T) {
	testenv.RequireTool(t, "nft")
	n, _ := newNodes(t)
	n.put(control.GridPorts)
	for _, damage := range []string{
		"delete element inet zosnet_control services { 2391 }", "add rule inet zosnet_control forward accept",
		"insert rule inet zosnet_control input accept", "flush chain inet zosnet_control forward",
		"add chain inet zosnet_control other", "chain inet zosnet_control input { policy drop; }", "delete table inet zosnet_control",
	} {
		run(t, "ip netns exec %s nft %s", n.name, damage)
		if changes := n.put(control.GridPorts); len(changes) != 1 || changes[0] != "table inet zosnet_control" {
			t.Errorf("after nft %s: changed %v, want the table", damage, changes)
		}
		if changes := n.put(control.GridPorts); len(changes) != 0 {
			t.Errorf("after nft %s, a second time: changed %v", damage, changes)
		}
	}
}

// A guest reaches the invitation service of the node that invites and nothing else, as
// whoever has found a token would try; once it is a node, its interface leads to the whole
// control network under another key and address.
func TestGuestBecomesANode(t *testing.T) {
	member, joining := newNodes(t)
	token := must(trust.NewToken(trust.TokenAddress{
		CA: trust.Fingerprint{1}, ControlKey: member.public(), Service: netip.AddrPortFrom(member.address, 2391),
		Endpoints: []netip.AddrPort{netip.AddrPortFrom(member.outer, grid.ControlPort)},
	}, time.Now().Add(time.Hour)))
	view := grid.View{Self: member.name, Control: network, Members: []string{member.name}, Pending: []trust.PendingToken{token.Pending()}}
	member.put(control.GridPorts, must(grid.Peers(view, time.Now()))...)
	member.listen("[::]:2391")
	member.listen("[::]:2379")
	registry := netip.AddrPortFrom(member.address, 2379)

	guest := grid.Guests(token)[0]
	err := joining.Do(func() error {
		_, err := control.Put(joining.devices, control.Interface{
			Node: joining.name, PrivateKey: wireguard.PrivateKeyOf(guest.PrivateKey()), ListenPort: grid.ControlPort,
			Address: guest.Address, Reach: guest.Peer.AllowedIPs[0], Peers: []grid.Peer{guest.Peer},
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := joining.reaches(token.Service, 30*time.Second); err != nil {
		t.Errorf("a guest does not reach the service: %v", err)
	}
	if err := joining.reaches(registry, 2*time.Second); err == nil {
		t.Error("a guest reaches the registry")
	}
	if joining.pings(member.address) {
		t.Error("a guest is answered by the host")
	}

	view.Nodes = []grid.Node{{Name: joining.name, Address: joining.address, ControlKey: joining.public()}}
	view.Pending[0].Used = &trust.TokenUse{Node: joining.name, At: time.Now().Add(-time.Hour)}
	member.put(control.GridPorts, must(grid.Peers(view, time.Now()))...)
	joining.put(nil, member.peer())
	if err := joining.reaches(token.Service, 30*time.Second); err != nil {
		t.Errorf("a node does not reach the service: %v", err)
	}
	if err := joining.reaches(registry, 30*time.Second); err != nil {
		t.Errorf("a node does not reach the registry: %v", err)
	}
	if !joining.pings(member.address) {
		t.Error("a node is not answered")
	}
	if got := joining.addresses(); len(got) != 1 || got[0] != joining.address.String() {
		t.Errorf("the interface has %v, want %v", got, joining.address)
	}
}

// addresses gives those of the control interface.
func (n *node) addresses() (list []string) {
	n.t.Helper()
	err := n.Do(func() error {
		link, err := net.InterfaceByName(control.Name(n.name))
		if err != nil {
			return err
		}
		addrs, err := link.Addrs()
		for _, a := range addrs {
			list = append(list, strings.Split(a.String(), "/")[0])
		}
		return err
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return list
}

func TestName(t *testing.T) {
	first, second := control.Name("n1"), control.Name("n2")
	if first == second || len(first) > 15 || control.Name("n1") != first {
		t.Errorf("n1 %q, n2 %q", first, second)
	}
}
