package device

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zosnet/zosnet/pkg/wireguard"
	"github.com/zosnet/zosnet/pkg/wireguard/userspace"
	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/testenv"
)

// scene is nodes on one underlay: a switch in a namespace of its own.
//
//	node i: 192.0.2.i, 2001:db8::i on eth0; its part of the network, 2001:db8:aaaa:i::/64, on lo
type scene struct {
	t         testing.TB
	id        string
	size      int
	userspace bool
	log       logged
	nodes     []*node
	keys      []wireguard.PrivateKey // that devices were given
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
	s := &scene{t: t, id: strconv.FormatInt(int64(os.Getpid()), 36) + strconv.Itoa(scenes), size: n, userspace: userspace}
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
		n.devices.Close()
		if err := userspace.Stop(filepath.Join(n.dir, "wireguard")); err != nil {
			s.t.Errorf("clean up: %v", err)
		}
	}
	host := lab.NewMachine("host", "/proc/self/ns/net")
	for i := range s.size + 1 { // a node that failed half-made is not among nodes
		_ = runOn(host, "ip netns del "+s.namespace(i))
	}
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
