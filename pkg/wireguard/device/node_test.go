package device

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"

	"github.com/zosnet/zosnet/pkg/wireguard"
	"github.com/zosnet/zosnet/test/lab"
)

// node is one node of a scene, with its Devices.
type node struct {
	*lab.Machine
	scene   *scene
	number  int
	dir     string
	devices *Devices
	key     wireguard.PrivateKey
	port    uint16
}

func (n *node) run(format string, args ...any) {
	n.scene.t.Helper()
	if err := runOn(n.Machine, fmt.Sprintf(format, args...)); err != nil {
		n.scene.t.Fatal(err)
	}
}

func (s *scene) addNode(i int) *node {
	s.t.Helper()
	name := s.namespace(i)
	n := &node{Machine: lab.NewMachine(fmt.Sprintf("node%d", i), "/run/netns/"+name), scene: s, number: i,
		dir: s.t.TempDir(), key: wireguard.NewPrivateKey(), port: uint16(21000 + i)}
	s.host("ip netns add %s", name)
	s.switchRun("ip link add p%d master sw0 type veth peer name eth0 netns %s", i, name)
	s.switchRun("ip link set p%d up", i)
	n.run("ip link set lo up")
	n.run("ip link set eth0 up")
	n.run("ip addr add %s/24 dev eth0", n.at4())
	n.run("ip addr add %s/64 dev eth0 nodad", n.at6())
	n.run("ip addr add %s/128 dev lo nodad", n.inner())
	n.open()
	return n
}

func (n *node) at4() netip.Addr {
	return netip.AddrFrom4([4]byte{192, 0, 2, byte(n.number)})
}

func (n *node) at6() netip.Addr {
	return netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", n.number))
}

// part is the node's /64 of the network, inner an address in it.
func (n *node) part() netip.Prefix {
	return netip.MustParsePrefix(fmt.Sprintf("2001:db8:aaaa:%d::/64", n.number))
}

func (n *node) inner() netip.Addr { return n.part().Addr().Next() }

// open is what a daemon does when it starts.
func (n *node) open() {
	n.scene.t.Helper()
	check(n.scene.t, n.Do(func() (err error) {
		n.devices, err = Open(n.config())
		return err
	}))
}

func (n *node) config() Config {
	return Config{RunDir: n.dir, Userspace: n.scene.userspace, Command: []string{os.Args[0], carrierWord},
		Log: slog.New(slog.NewTextHandler(&n.scene.log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
}

// link is the name of the node's device of a generation, unique on the machine.
func (n *node) link(generation int) string {
	return fmt.Sprintf("zt%s-%d%c", n.scene.id, n.number, 'a'+generation)
}

// device is the node's device with the given nodes for peers.
func (n *node) device(peers ...*node) wireguard.Device {
	d := wireguard.Device{Name: n.link(0), Alias: "zosnet acme", PrivateKey: n.key, ListenPort: n.port, MTU: 1420}
	for _, p := range peers {
		d.Peers = append(d.Peers, p.peer())
	}
	return d
}

// peer is the node as others see it.
func (n *node) peer() wireguard.Peer {
	return wireguard.Peer{PublicKey: n.key.Public(), Endpoint: netip.AddrPortFrom(n.at4(), n.port), AllowedIPs: []netip.Prefix{n.part()}}
}

// apply applies a device and gives what changed.
func (n *node) apply(d wireguard.Device) []string {
	n.scene.t.Helper()
	var changes []string
	n.scene.remember(d.PrivateKey)
	check(n.scene.t, n.Do(func() (err error) {
		changes, err = n.devices.Apply(d)
		return err
	}))
	if n.scene.userspace && len(changes) > 0 && changes[0] == "created" {
		// A gap must mean WireGuard: the tun device holds what comes while a loaded
		// machine does not run the process, as long as the sockets hold it.
		n.run("ip link set dev %s txqueuelen 10000", d.Name)
	}
	n.config().Log.Info("applied", "device", d, "changes", changes)
	return changes
}

func (n *node) read(name string) wireguard.Status {
	n.scene.t.Helper()
	var s wireguard.Status
	check(n.scene.t, n.Do(func() (err error) {
		s, err = n.devices.Read(name)
		return err
	}))
	return s
}

func (n *node) remove(name string) {
	n.scene.t.Helper()
	check(n.scene.t, n.Do(func() error { return n.devices.Remove(name) }))
}

// route sends what is for a node's part through a device.
func (n *node) route(to *node, device string) {
	n.scene.t.Helper()
	n.run("ip -6 route replace %v dev %s", to.part(), device)
}
