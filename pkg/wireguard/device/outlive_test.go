package device

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/pkg/wireguard"
	"github.com/zosnet/zosnet/pkg/wireguard/userspace"
	"github.com/zosnet/zosnet/test/lab"
	"github.com/zosnet/zosnet/test/probe"
	"github.com/zosnet/zosnet/test/testenv"
)

// A test may run this binary again, as the daemon that makes a device, or as the
// process that carries for it: the same code as `zosnet wg`, and no whole program to
// build first.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == carrierWord {
		if err := userspace.Run(context.Background(), slog.New(slog.NewTextHandler(os.Stderr, nil))); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if text := os.Getenv(creatorEnv); text != "" {
		if err := create(text); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		select {} // until it is killed
	}
	os.Exit(m.Run())
}

const (
	creatorEnv  = "ZOSNET_TEST_CREATOR"
	carrierWord = "carry-as-zosnet-wg"
)

// creation is what the daemon is told; its key is in a file, as always.
type creation struct {
	Namespace, Dir, Keys, Name, Command string
	Port                                uint16
	Peer                                wireguard.PublicKey
	Endpoint                            netip.AddrPort
	AllowedIPs                          []netip.Prefix
}

func create(text string) error {
	var c creation
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	keys, err := wireguard.OpenKeys(c.Keys)
	if err != nil {
		return err
	}
	key, err := keys.Load("acme")
	if err != nil {
		return err
	}
	return lab.NewMachine("daemon", c.Namespace).Do(func() error {
		devices, err := Open(Config{RunDir: c.Dir, Userspace: true, Command: []string{c.Command, "wg"}, Log: slog.Default()})
		if err != nil {
			return err
		}
		_, err = devices.Apply(wireguard.Device{Name: c.Name, Alias: "zosnet acme", PrivateKey: key, ListenPort: c.Port, MTU: 1420,
			Peers: []wireguard.Peer{{PublicKey: c.Peer, Endpoint: c.Endpoint, AllowedIPs: c.AllowedIPs}}})
		fmt.Println("ready", err)
		return err
	})
}

// The daemon is killed, and everything it has started with it that a kill of its
// session reaches; packets go on; the next daemon finds everything as it should be.
func TestOutlivesTheDaemon(t *testing.T) { outlives(t) }

// The same with what the systemd unit leaves a daemon: no CAP_SETUID, no
// CAP_DAC_OVERRIDE, no new privileges.
func TestOutlivesTheUnitsDaemon(t *testing.T) {
	outlives(t, testenv.RequireTool(t, "setpriv"), "--no-new-privs",
		"--bounding-set=-all,+bpf,+net_admin,+sys_admin,+net_raw,+perfmon")
}

func outlives(t *testing.T, as ...string) {
	s := newScene(t, 2, true)
	a, b := s.nodes[0], s.nodes[1]
	keys, err := wireguard.OpenKeys(filepath.Join(a.dir, "keys"))
	check(t, err)
	a.key, err = keys.Make("acme")
	check(t, err)
	peer := b.peer()
	text, err := json.Marshal(creation{a.Path(), a.dir, filepath.Join(a.dir, "keys"), a.link(0), testenv.Zosnet(t), a.port,
		peer.PublicKey, peer.Endpoint, peer.AllowedIPs})
	check(t, err)
	as = append(as, os.Args[0])
	daemon := exec.Command(as[0], as[1:]...)
	daemon.Env = append(os.Environ(), creatorEnv+"="+string(text))
	daemon.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	out, err := daemon.StdoutPipe()
	check(t, err)
	check(t, daemon.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	if line != "ready <nil>\n" {
		_ = daemon.Process.Kill()
		t.Fatal(line, err)
	}
	a.run("ip link set dev %s txqueuelen 10000", a.link(0)) // as apply does
	b.apply(b.device(a))
	a.route(b, a.link(0))
	b.route(a, b.link(0))
	a.reaches(b)
	before := a.read(a.link(0)).Peers[0]

	stream, err := probe.StartSequence(t.Context(), a.Machine, b.Machine, addrPort(b, 7000), 1000)
	check(t, err)
	check(t, unix.Kill(-daemon.Process.Pid, unix.SIGKILL)) // its process group
	_ = daemon.Wait()                                      // the pipe would be open if the process had inherited it
	pid := a.carrier()
	for name, value := range statusOfProcess(t, pid) {
		if strings.HasPrefix(name, "Cap") && name != "CapBnd" && value != zeroes {
			t.Errorf("the process has %s %s", name, value)
		}
	}
	a.open()
	if got := a.apply(a.device(b)); got != nil {
		t.Errorf("the next daemon changed %q", got)
	}
	more := a.device(b)
	more.Peers = append(more.Peers, wireguard.Peer{PublicKey: wireguard.NewPrivateKey().Public(), AllowedIPs: []netip.Prefix{prefix("2001:db8:cccc::/64")}})
	if got := a.apply(more); len(got) != 1 {
		t.Errorf("the next daemon changed %q, want one peer", got)
	}
	awaitMore(t, stream, 500)
	lossless(t, stream, 500)
	for _, p := range a.read(a.link(0)).Peers {
		if p.PublicKey == before.PublicKey && p.LastHandshake != before.LastHandshake {
			t.Error("there was another handshake")
		}
	}
	if now := a.carrier(); now != pid {
		t.Errorf("the process was %d and is %d", pid, now)
	}
}
