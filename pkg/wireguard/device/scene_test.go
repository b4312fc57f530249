package device

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/wireguard"
	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/testenv"
)

// scene is nodes on one underlay: a switch in a namespace of its own.
//
//	node i: 192.0.2.i, 2001:db8::i on eth0; its part of the network, 2001:db8:aaaa:i::/64, on lo
type scene struct {
	t         testing.TB
	id        string
	userspace bool
	log       logged
	nodes     []*node
	keys      []wireguard.PrivateKey // that devices were given
}

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

// logged is what everybody logged.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

var scenes int

// newScene makes n nodes and opens their Devices. Everything goes with the test.
func newScene(t testing.TB, n int, userspace bool) *scene {
	t.Helper()
	testenv.RequireRoot(t)
	scenes++
	s := &scene{t: t, id: strconv.FormatInt(int64(os.Getpid()), 36) + strconv.Itoa(scenes), userspace: userspace}
	t.TempDir() // before the clean-up, and so removed after it
	t.Cleanup(func() {
		s.close()
		if t.Failed() {
			t.Logf("logged:\n%s", s.log.text.String())
		}
	})
	s.host("ip netns add %s", s.namespace(0))
	s.switchRun("ip link add sw0 type bridge mcast_snooping 0")
	s.switchRun("ip link set sw0 up")
	for i := 1; i <= n; i++ {
		s.nodes = append(s.nodes, s.addNode(i))
		if i == 1 && !userspace {
			requireKernel(t, s.nodes[0])
		}
	}
	return s
}

func (s *scene) namespace(i int) string { return fmt.Sprintf("zt-%s-%d", s.id, i) }

func (s *scene) host(format string, args ...any) {
	s.t.Helper()
	if err := runOn(lab.NewMachine("host", "/proc/self/ns/net"), fmt.Sprintf(format, args...)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) switchRun(format string, args ...any) {
	s.t.Helper()
	if err := runOn(lab.NewMachine("switch", "/run/netns/"+s.namespace(0)), fmt.Sprintf(format, args...)); err != nil {
		s.t.Fatal(err)
	}
}

func runOn(m *lab.Machine, line string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	words := strings.Fields(line)
	_, err := m.Run(ctx, words[0], words[1:]...)
	return err
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
	return Config{RunDir: n.dir, Userspace: n.scene.userspace, Command: []string{testenv.Zosnet(n.scene.t), "wg"},
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

// join makes every node a peer of every other, with routes.
func (s *scene) join() {
	s.t.Helper()
	for _, n := range s.nodes {
		var peers []*node
		for _, p := range s.nodes {
			if p != n {
				peers = append(peers, p)
			}
		}
		n.apply(n.device(peers...))
		for _, p := range peers {
			n.route(p, n.link(0))
		}
	}
}

// close ends every process that carries for a node, and removes the namespaces.
func (s *scene) close() {
	s.searchKeys()
	for _, n := range s.nodes {
		if n.devices == nil {
			continue
		}
		_ = n.Do(func() error {
			for generation := range 2 {
				if err := n.devices.Remove(n.link(generation)); err != nil {
					s.t.Errorf("clean up: %v", err)
				}
			}
			return nil
		})
		n.devices.Close()
		n.awaitEnd()
	}
	host := lab.NewMachine("host", "/proc/self/ns/net")
	for i := range len(s.nodes) + 1 {
		_ = runOn(host, "ip netns del "+s.namespace(i))
	}
}

// awaitEnd waits until no process holds the node's lock.
func (n *node) awaitEnd() {
	n.scene.t.Helper()
	lock, err := os.Open(filepath.Join(n.dir, "wireguard", "wg.lock"))
	if os.IsNotExist(err) {
		return
	}
	check(n.scene.t, err)
	defer func() { _ = lock.Close() }()
	eventually(n.scene.t, "the process of "+n.Name+" to end", func() bool {
		return unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
	})
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits for what a loaded machine may take long for.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
